from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import Platform, platform
from tests.support.servers.smtp import serve
from tests.support.workers.trouble import TROUBLED, Moody


@pytest.fixture(scope="session")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform for all tests that break nothing for good."""
    with platform(tmp_path_factory.mktemp("p")) as running:
        yield running


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with tasks that misbehave."""
    settings = {**TROUBLED, "TANDEM_GRACE": "1", "TANDEM_SYNC_MEMORY": "256MiB"}
    with serve(Moody()) as port:
        settings["SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        with platform(tmp_path_factory.mktemp("p"), **settings) as running:
            yield running


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where each run of a handler leaves a mark."""
    return tmp_path
