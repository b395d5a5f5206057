"""A Redis that no job may be given to is refused by every process at its start, in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.config.settings import BAD_SETTING
from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.bootstrap import OUTAGE
from tandem.shared.runtime.redis_client import client, wait_until_ready
from tests.support.processes import ROOT, clean_environment
from tests.support.servers.locked_valkey import QUOTED, server
from tests.support.servers.proxy import proxied

MODULES = ("tandem.api", "tandem.llm_worker", "tandem.sync_worker", "tandem.shared.maintenance")
DASHBOARD = "tandem.sync_worker.dashboard"


def cluster() -> tuple[str, ...]:
    """Options for cluster mode; the port of its bus is else 10,000 higher, where anybody may have one."""
    return ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))


def start(module: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run a process to its end."""
    given = {
        "REDIS_URL": url,
        "TANDEM_API_KEYS": f"ann:admin:{'a' * 16}",
        "OPENAI_API_KEY": "sk",
        "PYTHONPATH": str(ROOT),
    }
    env = {**clean_environment(), **given}
    command = [sys.executable, "-m", module]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("login", ["", ":wrong-" + QUOTED + "@", "nobody:" + QUOTED + "@"])
def test_a_refused_login_is_no_outage(tmp_path: Path, login: str) -> None:
    with server(tmp_path / "v") as port, pytest.raises(ValueError, match="REDIS_URL: the server refuses") as info:
        wait_until_ready(f"redis://{login}127.0.0.1:{port}/0")
    assert len(str(info.value).splitlines()) == 1
    assert QUOTED not in str(info.value)


def test_a_user_who_may_do_too_little_is_refused(tmp_path: Path) -> None:
    with server(tmp_path / "v") as port:
        with client(f"redis://:{QUOTED}@127.0.0.1:{port}/0") as connection:
            connection.acl_setuser("bob", enabled=True, passwords=["+bob"], commands=["+ping"])
        with pytest.raises(ValueError, match="REDIS_URL: the server refuses"):
            wait_until_ready(f"redis://bob:bob@127.0.0.1:{port}/0")


def test_a_cluster_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(StoreUnavailable, match="REDIS_URL: Redis runs in cluster mode")
    with server(tmp_path / "v", *cluster()) as port, refused as info:
        wait_until_ready(f"redis://:{QUOTED}@127.0.0.1:{port}/0")
    assert len(str(info.value).splitlines()) == 1


def test_a_server_that_is_too_old_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(
        StoreUnavailable, match=r"REDIS_URL: Redis 6\.[\d.]+ is too old.*Redis 7\.0 or newer, or Valkey"
    )
    with server(tmp_path / "v"), proxied(tmp_path / "p", tmp_path / "v" / "s") as proxy, refused as info:
        proxy.after = lambda said: said.replace(b"redis_version:7.", b"redis_version:6.")
        wait_until_ready(f"unix://:{QUOTED}@{proxy.path}?db=0")
    assert len(str(info.value).splitlines()) == 1


@pytest.mark.slow
def test_every_process_says_so_in_one_line(tmp_path: Path) -> None:
    with server(tmp_path / "v", *cluster()) as port:
        url = f"redis://127.0.0.1:{port}/0"
        for module in (*MODULES, DASHBOARD):
            ended = start(module, tmp_path, url)
            assert (module, ended.returncode, len(ended.stderr.splitlines())) == (module, BAD_SETTING, 1), ended.stderr
            assert ended.stderr.startswith("REDIS_URL: the server refuses")
            ended = start(module, tmp_path, url.replace("//", f"//:{QUOTED}@"))
            assert (module, ended.returncode) == (module, OUTAGE)
            assert ended.stderr.splitlines()[-1].startswith("REDIS_URL: Redis runs in cluster mode")
            assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", [*MODULES, DASHBOARD])
def test_an_odd_option_is_one_line(tmp_path: Path, module: str) -> None:
    ended = start(module, tmp_path, "redis://127.0.0.1:1/0?foo=1")
    assert (ended.returncode, ended.stdout) == (BAD_SETTING, "")
    assert ended.stderr == "REDIS_URL: unknown option; known are db, username, password, client_name\n"
