from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform, platform


@pytest.fixture(scope="session")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for all tests that break nothing for good."""
    with platform(tmp_path_factory.mktemp("p")) as running:
        yield running
