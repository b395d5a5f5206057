"""`make llm-stub`: where it listens, and whom it tells."""

import sys
from pathlib import Path

import httpx
import pytest

from tandem.deploy.local.lock import holder, take
from tandem.deploy.local.ports import free_port
from tests.support.processes import Process, running, until

STUB = "tandem.deploy.local.stub"
PLATFORM = """
import sys, time
from pathlib import Path
from tandem.deploy.local.lock import take
print("locked" if take(Path(sys.argv[1])) else "taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def port() -> str:
    return str(free_port())


@pytest.mark.parametrize("option", [["--port", "{}"], ["--port={}"], ["-p", "{}"]])
def test_it_listens_where_its_options_say(option: list[str], port: str, tmp_path: Path) -> None:
    arguments = [part.format(port) for part in option]
    with running(STUB, *arguments, env={"RUN_DIR": str(tmp_path)}, log=tmp_path / "log", says="Listening"):
        url = (tmp_path / "llm.url").read_text().strip()
        assert url == f"http://127.0.0.1:{port}/v1"
        until(lambda: _answers(url), what="an answer")


def test_beside_a_platform_it_leaves_the_platforms_address_alone(port: str, tmp_path: Path) -> None:
    (tmp_path / "llm.url").write_text("http://127.0.0.1:1/v1\n")
    platform = Process([sys.executable, "-c", PLATFORM, str(tmp_path)], env={}, log=tmp_path / "platform.log")
    try:
        platform.until_says("locked")
        assert holder(tmp_path) == platform.popen.pid
        with running(STUB, "-p", port, env={"RUN_DIR": str(tmp_path)}, log=tmp_path / "log", says="Listening") as stub:
            assert f"this one is http://127.0.0.1:{port}/v1" in stub.output
    finally:
        platform.stop()
    assert (tmp_path / "llm.url").read_text() == "http://127.0.0.1:1/v1\n"
    assert holder(tmp_path) is None, "the lock goes with its process"


def test_the_stand_in_of_the_platform_itself_writes_its_address(tmp_path: Path) -> None:
    assert take(tmp_path)  # as long as this process lives: it stands for `make run`, whose child a stand-in is
    with running(STUB, "--rpm", "60", env={"RUN_DIR": str(tmp_path)}, log=tmp_path / "log", says="Listening"):
        url = (tmp_path / "llm.url").read_text().strip()
        until(lambda: _answers(url), what="an answer")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url.removesuffix('/v1')}/health").is_success
    except httpx.TransportError:
        return False
