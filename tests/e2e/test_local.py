"""`make run` and `make demo`."""

import email
import email.policy
import io
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pypdf
import pytest

from tandem.deploy.local.ports import free_port
from tests.support.platform import CHAT, PARTS, Platform, platform
from tests.support.processes import ROOT, Process, clean_environment, running, until

pytestmark = pytest.mark.slow


def test_it_says_where_everything_is(shared_platform: Platform) -> None:
    output = shared_platform.process.output
    lines = output[output.index("ready http://") :].splitlines()
    assert lines[0] == f"ready {shared_platform.url}"
    assert shared_platform.dashboard in lines[2]
    for name in ("user.key", "admin.key"):
        mode = (shared_platform.folder / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    keys = [(shared_platform.folder / name).read_text().strip() for name in ("user.key", "admin.key")]
    assert not any(key in output for key in keys)
    assert "  LLM        a stand-in, which makes its answers up" in output
    assert shared_platform.run("chat", CHAT)["provider"] == "stand-in"


def test_the_pasted_curl_line_works(shared_platform: Platform) -> None:
    output = shared_platform.process.output
    command = output[output.index("  curl ") :].split("\n", 2)
    line = " ".join(part.strip().rstrip("\\") for part in command[:2])
    result = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, cwd=ROOT)
    assert '"status":"succeeded"' in result.stdout


def test_the_demo_succeeds_beside_it(shared_platform: Platform) -> None:
    env = {**clean_environment(), "RUN_DIR": str(shared_platform.folder)}  # no PORT: the folder names the address
    command = [sys.executable, "-m", "tandem.deploy.local.demo"]
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "9 jobs succeeded" in result.stdout
    mail = email.message_from_bytes(
        (shared_platform.folder / "demo" / "mail.eml").read_bytes(), policy=email.policy.default
    )
    [attachment] = mail.iter_attachments()
    content = attachment.get_content()
    assert content == (shared_platform.folder / "demo" / "invoice.pdf").read_bytes()
    text = pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()
    assert "Invoice" in text
    assert "Globex Ltd" in text


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_comes_back(shared_platform: Platform, part: str) -> None:
    until(lambda: set(shared_platform.parts()) == set(PARTS), what="all parts")
    before = shared_platform.parts()[part]
    before.send_signal(signal.SIGKILL)

    def back() -> bool:
        now = shared_platform.parts().get(part)
        return now is not None and now.pid != before.pid

    until(back, what=f"the return of {part}")
    until(lambda: _answers(shared_platform), what="an answer")
    assert shared_platform.run("chat", CHAT)["status"] == "succeeded"
    assert shared_platform.run("report", {"markdown": "# Back"})["status"] == "succeeded"


def _answers(running: Platform) -> bool:
    try:
        dashboard = httpx.get(running.dashboard, auth=("x", running.admin_key), timeout=5)
        return dashboard.status_code == 200 and httpx.get(f"{running.url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_of_it_and_a_second_start_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    folder = tmp_path / "p"
    with platform(folder, LLM_WORKERS="0", SYNC_WORKERS="0") as first:
        with first.client() as client:
            ids = [client.post("/v1/chat", json=CHAT).json()["id"] for _ in range(20)]
            ids += [client.post("/v1/report", json={"markdown": "# Later"}).json()["id"] for _ in range(3)]
        children = psutil.Process(first.process.popen.pid).children(recursive=True)
        assert first.process.stop(signum) == 0
        assert not [child for child in children if child.is_running()]
    with platform(folder) as second:
        assert {job["status"] for job in second.until_finished(ids)} == {"succeeded"}


def test_a_second_one_in_the_same_folder_is_refused(shared_platform: Platform) -> None:
    env = {**clean_environment(), **shared_platform.env, "PORT": str(free_port())}
    command = [sys.executable, "-m", "tandem.deploy.local.run"]
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=ROOT)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "already runs" in result.stderr


@pytest.mark.parametrize("name", ["PORT", "DASHBOARD_PORT"])
def test_a_port_in_use_is_one_clear_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {"RUN_DIR": str(tmp_path), "PORT": str(free_port()), "DASHBOARD_PORT": str(free_port()), name: port}
        process = Process([sys.executable, "-m", "tandem.deploy.local.run"], env=env, log=tmp_path / "log")
        assert process.popen.wait(30) == 1
    assert process.output.splitlines() == [
        f"{name}={port} is in use on 127.0.0.1; stop what listens there or set {name}"
    ]


def test_a_demo_that_can_start_no_platform_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**clean_environment(), "RUN_DIR": str(tmp_path), "PORT": port, "DASHBOARD_PORT": str(free_port())}
        command = [sys.executable, "-m", "tandem.deploy.local.demo"]
        result = subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=ROOT)
    assert result.returncode == 1
    assert f"the platform did not start:\nPORT={port} is in use" in result.stderr


def test_a_bad_setting_is_one_line_and_exit_2(tmp_path: Path) -> None:
    for module in (
        "tandem.deploy.local.run",
        "tandem.api",
        "tandem.llm_worker",
        "tandem.sync_worker",
        "tandem.shared.maintenance",
    ):
        env = {**clean_environment(), "RUN_DIR": str(tmp_path), "TANDEM_LLM_CONCURRENCY": "many"}
        result = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, env=env, check=False)
        assert result.returncode == 2, module
        [line] = result.stderr.splitlines()
        assert "TANDEM_LLM_CONCURRENCY='many'" in line
        assert "integer" in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOST", "no host", "HOST='no host', PORT="),
        ("HOST", "192.0.2.1", "HOST='192.0.2.1', PORT="),  # no address of this machine
        ("RUN_DIR", "/dev/null", "RUN_DIR='/dev/null': must be a folder"),
    ],
)
def test_a_place_that_can_t_be_used_is_one_line(tmp_path: Path, name: str, value: str, said: str) -> None:
    env = {**clean_environment(), "RUN_DIR": str(tmp_path), "PORT": str(free_port()), name: value}
    command = [sys.executable, "-m", "tandem.deploy.local.run"]
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    [line] = result.stderr.splitlines()
    assert (result.returncode, line[: len(said)]) == (2, said)


def test_the_demo_works_beside_keys_that_the_file_declares(tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text("[keys.shop]\nrole = 'user'\nkey_env = 'SHOP_KEY'\n")
    shop = "k" * 32
    given = {"TANDEM_CONFIG": str(tmp_path / "tandem.toml"), "SHOP_KEY": shop}
    with platform(tmp_path / "p", **given) as started:
        assert "user.key, admin.key, and those of TANDEM_CONFIG" in started.process.output.replace(
            f"{started.folder}/", ""
        )
        env = {**clean_environment(), **started.env}
        command = [sys.executable, "-m", "tandem.deploy.local.demo"]
        result = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        with started.client(shop) as client:
            assert client.get("/v1/jobs").status_code == 200


def test_what_was_deleted_under_a_worker_is_in_the_job(tmp_path: Path) -> None:
    with platform(tmp_path / "p") as started:
        (started.folder / "redis.url").unlink()
        job = started.run("report", {"markdown": "# Hello"})
    assert (job["status"], job["error"]["type"]) == ("failed", "run_dir_gone")
    assert "RUN_DIR was deleted" in job["error"]["message"]


def test_without_a_package_index_the_first_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "lock").write_text(f"attrs==25.4.0 --hash=sha256:{'0' * 64}\n")
    nowhere = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    env = {name: value for name, value in clean_environment().items() if not name.startswith("PIP_")}
    result = subprocess.run(
        ["sh", "deploy/local/bootstrap.sh", "lock"],
        cwd=tmp_path,
        env={**env, **nowhere, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "The package index can't be reached." in result.stderr
    assert "compiler" not in result.stderr


def test_what_dies_at_the_start_stops_everything(tmp_path: Path) -> None:
    env = {"RUN_DIR": str(tmp_path), "PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
    env |= {"TANDEM_MAIL_FROM": "nobody"}
    process = Process([sys.executable, "-m", "tandem.deploy.local.run"], env=env, log=tmp_path / "log")
    assert process.popen.wait(60) == 1
    assert "not started: sync-worker ended with 2" in process.output
    assert "TANDEM_MAIL_FROM='nobody' is not `Name <address>`" in process.output


def test_another_provider_needs_only_its_address(tmp_path: Path) -> None:
    """Any OpenAI-compatible server and real addresses of Redis and mail: no helper is started for them."""
    elsewhere = tmp_path / "elsewhere"
    log = tmp_path / "stub.log"
    elsewhere.mkdir()
    with running(
        "tandem.deploy.local.stub", "--rpm", "600", env={"RUN_DIR": str(elsewhere)}, log=log, says="Listening"
    ):
        url = (elsewhere / "llm.url").read_text().strip()
        with platform(tmp_path / "p", OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-of-the-test") as started:
            assert "llm-stub" not in started.parts()
            job = started.run("score", {"text": "Fine."})
            assert (job["status"], job["provider"]) == ("succeeded", "127.0.0.1")
            assert "sk-of-the-test" not in started.process.output
            assert "a stand-in" not in started.process.output
        asked = httpx.get(f"{url.removesuffix('/v1')}/_llmock/requests").json()["requests"]
        assert len(asked) == 1


def test_singly_started_parts_find_each_other(tmp_path: Path) -> None:
    """`make redis`, `make llm-stub`, … in one RUN_DIR work together without any setting."""
    port = str(free_port())
    env = {"RUN_DIR": str(tmp_path / "r"), "PORT": port, "TANDEM_LOG_FORMAT": "console"}
    subprocess.run(
        [sys.executable, "-m", "tandem.deploy.local.files"], env={**clean_environment(), **env}, check=True, cwd=ROOT
    )
    with ExitStack() as stack:
        redis = Process([sys.executable, "-m", "tandem.deploy.local.redis"], env=env, log=tmp_path / "redis")
        stack.callback(redis.stop)
        for module, says in (
            ("tandem.deploy.local.stub", ""),
            ("tandem.api", "listening"),
            ("tandem.llm_worker", "ready"),
            ("tandem.llm_worker", "ready"),
        ):
            log = tmp_path / f"{module}-{len(list(tmp_path.iterdir()))}"
            stack.enter_context(running(module, env=env, log=log, says=says))
        key = (tmp_path / "r" / "user.key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=30"}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat", json=CHAT, headers=headers, timeout=40)
        assert answer.json()["status"] == "succeeded", answer.text
