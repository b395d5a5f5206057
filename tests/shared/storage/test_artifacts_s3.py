"""Artefacts in a bucket, on a real server of S3's protocol."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from obstore.exceptions import BaseError

from tandem.deploy.local.ports import free_port
from tandem.shared.storage.artifacts import Artifacts
from tests.support.processes import until

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI"
LARGE = bytes(range(256)) * 40_000  # 10 MB: sent in parts


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    address = f"127.0.0.1:{free_port()}"
    rclone = Path(sys.executable).parent / "rclone"
    command = [str(rclone), "serve", "s3", "--addr", address, "--auth-key", f"{KEY},{SECRET}", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(f"http://{address}"), what="the S3 server's answer")
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code > 0
    except httpx.HTTPError:
        return False


@pytest.fixture
def files(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT": endpoint}
    for name, value in {**environment, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    return Artifacts("s3://bucket/some/prefix")


def test_a_bucket_keeps_files_as_a_folder_does(files: Artifacts) -> None:
    small, large = (
        files.put(owner="ada", job="01J", run=n, name="ü #1.pdf", media_type="application/pdf", content=content)
        for n, content in enumerate((b"%PDF", LARGE))
    )
    assert files.get(small.key) == b"%PDF"
    assert files.get(large.key) == LARGE
    assert Artifacts("s3://bucket/some").get(f"prefix/{small.key}") == b"%PDF"
    assert {entry.key: entry.bytes for entry in files.list()} == {small.key: 4, large.key: len(LARGE)}
    for _ in range(2):
        files.delete(large.key)
    with pytest.raises(FileNotFoundError):
        files.get(large.key)
    assert not list(files.drafts())


@pytest.mark.usefixtures("files")
def test_a_wrong_secret_opens_no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises((BaseError, PermissionError)):
        list(Artifacts("s3://bucket/some/prefix").list())
