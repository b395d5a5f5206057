"""A store that takes no file says why, in a type that is worth a retry; without the file's name."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import TransientError
from tandem.shared.storage.artifacts import Artifacts, open_files
from tests.chaos.faults.disk import Disk

MORE_THAN_A_BLOCK = b"x" * 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    made = Disk(place, size="1m")
    yield made
    made.close()


def refused(files: Artifacts) -> TransientError:
    with pytest.raises(TransientError) as info:
        files.put(owner="ann", job="01J", run=1, name="secret-plan.pdf", media_type="", content=MORE_THAN_A_BLOCK)
    assert "secret" not in info.value.message
    return info.value


def test_a_full_disk_is_called_that(disk: Disk, tmp_path: Path) -> None:
    if disk.why_not:
        pytest.skip(disk.why_not)
    files = Artifacts((tmp_path / "disk/files").as_uri())
    with disk.full():
        error = refused(files)
    assert (error.type, error.retryable) == ("disk_full", True)
    assert "full" in error.message
    assert files.put(owner="ann", job="01J", run=2, name="x", media_type="", content=MORE_THAN_A_BLOCK).bytes


def test_a_folder_that_can_t_be_written_is_called_that(tmp_path: Path) -> None:
    files = Artifacts(tmp_path.as_uri())
    (tmp_path / "ann").touch()  # where her folder would be
    error = refused(files)
    assert (error.type, error.message) == (
        "storage_unavailable",
        "the store of files did not take the file: Not a directory",
    )


def test_a_folder_that_may_not_be_written_ends_a_worker_at_its_start() -> None:
    """As a volume that belongs to another user. An attempt would fail there when its work is done, and paid."""
    with TemporaryDirectory() as parent, nobody():
        folder = Path(parent) / "files"
        settings = Settings(_env_file=None, files_url=folder.as_uri())
        with root():
            Path(parent).chmod(0o755)
            folder.mkdir(mode=0o555)
        with pytest.raises(SettingsError, match=r"TANDEM_FILES_URL: file://.*/files: this process may not write there"):
            open_files(settings)
        with root():
            folder.chmod(0o777)
        assert open_files(settings).may_write()


@contextmanager
def user(number: int) -> Iterator[None]:
    """Be another user for as long as the block lasts, if that is possible; root may write anywhere."""
    before = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(before)


def nobody() -> AbstractContextManager[None]:
    return user(65534)


def root() -> AbstractContextManager[None]:
    return user(0)


@pytest.mark.slow
def test_a_bucket_that_does_not_answer_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing answers there
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a")
    assert refused(Artifacts("s3://bucket")).type == "storage_unavailable"
