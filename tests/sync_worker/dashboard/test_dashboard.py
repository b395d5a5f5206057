"""The dashboard as a process of its own: who may look, and how it is served."""

import re
import socket
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.dashboard.running import ADMIN, USER, basic
from tests.support.processes import Process

pytestmark = pytest.mark.slow

QUEUES = "/0/data/queues.json"

# --- who may look


@pytest.mark.parametrize("path", ["/", "/static/css/main.css", QUEUES])
@pytest.mark.parametrize(
    "login",
    [
        b"",
        basic("admin:wrong"),
        basic("admin:"),
        basic(":"),
        basic("admin"),
        basic(f"{ADMIN}:"),
        basic(f"x:{ADMIN} "),
        basic(f"ann:{USER}"),
        basic(b"x:\xff\xfe"),
        basic("x:schlüssel-0123456789"),
        b"Basic",
        b"Basic !!!",
        b"Basic \xff\xfe\xfd",
        b"Basic " + ADMIN.encode(),
        b"Bearer " + ADMIN.encode(),
        ADMIN.encode(),
    ],
    ids=repr,
)
def test_nobody_looks_without_an_admin_key(nobody: httpx.Client, path: str, login: bytes) -> None:
    answer = nobody.get(path, headers=[(b"Authorization", login)] if login else [])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert ADMIN not in answer.text


@pytest.mark.parametrize("scheme", [b"Basic", b"basic", b"BASIC"])
@pytest.mark.parametrize("name", ["", "admin", "anybody at all", "ü"])
def test_any_name_with_an_admin_key(nobody: httpx.Client, scheme: bytes, name: str) -> None:
    header = scheme + b" " + b64encode(f"{name}:{ADMIN}".encode())
    assert nobody.get("/", headers=[(b"Authorization", header)]).status_code == 200


# --- how it is served


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 200),
        ("GET", QUEUES, 200),
        ("GET", "/static/css/main.css", 200),
        ("GET", "/tandem/jobs.js", 200),
        ("HEAD", "/0/view/workers", 200),
        ("GET", "/0/view/job/nobody", 404),
        ("GET", "/static/no-such-file", 404),
        ("GET", "/tandem/page.js", 404),
        ("GET", "/requeue/sync", 403),
        ("POST", "/job/abc/delete", 403),
        ("POST", "/job/abc/requeue", 403),
        ("OPTIONS", "/", 403),
    ],
)
def test_security_headers_on_every_answer(admin: httpx.Client, method: str, path: str, code: int) -> None:
    answer = admin.request(method, path)
    assert answer.status_code == code
    assert_guarded(answer)


def test_security_headers_without_a_login(nobody: httpx.Client) -> None:
    assert_guarded(nobody.get("/"))


def assert_guarded(answer: httpx.Response) -> None:
    headers = answer.headers
    assert headers.get_list("x-frame-options") == ["DENY"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    [policy] = headers.get_list("content-security-policy")
    rules = {name: values for name, *values in map(str.split, policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


def test_it_listens_on_loopback_unless_told_otherwise(dashboard: str) -> None:
    port = int(dashboard.rpartition(":")[2])
    connections: list[Any] = psutil.net_connections("tcp")
    ours = [one.laddr for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port]
    assert [place.ip for place in ours] == ["127.0.0.1"]


def ended(env: dict[str, str], log: Path) -> tuple[int, str]:
    """The exit code and last line of a dashboard that does not start."""
    process = Process([sys.executable, "-m", "tandem.sync_worker.dashboard"], env=env, log=log)
    code = process.popen.wait(30)
    return code, process.output.splitlines()[-1]


def test_a_port_in_use_is_said_in_one_line(valkey: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        env = {"REDIS_URL": valkey, "DASHBOARD_PORT": str(port), "TANDEM_API_KEYS": f"root:admin:{ADMIN}"}
        code, line = ended(env, tmp_path / "log")
    assert code == 1
    assert line.startswith(f"DASHBOARD_PORT={port}: can't listen: Address already in use")


def test_without_keys_it_does_not_start(valkey: str, tmp_path: Path) -> None:
    code, line = ended({"REDIS_URL": valkey, "RUN_DIR": str(tmp_path)}, tmp_path / "log")
    assert code == 2
    assert line.startswith("TANDEM_API_KEYS is unset")
