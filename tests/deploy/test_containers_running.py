"""Images that are really built, and compose.yaml that is really started: by Debian's tools, without a registry.

One image is built wherever the tools are. The whole platform is for `make containers-test`.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.config.settings import BAD_SETTING
from tandem.shared.tasks.registry import load as load_catalog
from tests.support.processes import ROOT, clean_environment, until

TOOLS = ("mmdebstrap", "buildah", "podman", "runc")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
CAN_BUILD = not MISSING and os.geteuid() == 0
REASON = (
    f"no image is built here: {', '.join(MISSING)} not installed" if MISSING else "no image is built here: not root"
)
WHOLE = os.environ.get("CONTAINERS_TEST") == "1"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.skipif(not CAN_BUILD, reason=REASON)]
whole = pytest.mark.skipif(not WHOLE, reason="the whole platform in containers is started by `make containers-test`")

ADMIN = "0123456789abcdef-ops"
PARTS = ("valkey", "llm-stub", "api", "llm-worker", "sync-worker", "clock", "dashboard")
OURS = tuple(part for part in PARTS if part != "valkey")
SUBMITTERS = 4


def run(*words: str, **environment: str) -> str:
    """Run a command to its end; its output, or a failure that shows it."""
    done = subprocess.run(
        words, cwd=ROOT, env={**clean_environment(), **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def podman(*words: str) -> str:
    return run("podman", "--runtime", "runc", *words)


def test_an_image_is_built_and_starts() -> None:
    run("sh", "deploy/containers/images.sh", "api")
    limits = ("--ulimit", "nofile=10000:10000", "--ulimit", "nproc=9000:9000")
    hardened = ("--read-only", "--cap-drop", "ALL", "--network", "none")
    words = ["podman", "--runtime", "runc", "run", "--rm", *limits, *hardened, "localhost/tandem_api"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (BAD_SETTING, "")  # started, and told nothing of a Redis
    assert "REDIS_URL is unset" in done.stderr


# --- the whole platform


class Platform:
    """compose.yaml as it runs; containers are named as podman-compose does."""

    def __init__(self, run_dir: Path) -> None:
        self.environment = {
            "TANDEM_API_KEYS": f"ops:admin:{ADMIN}",
            "OPENAI_BASE_URL": "http://llm-stub:8000/v1",
            "SMTP_URL": "smtp://mail:1025",
            "TANDEM_ALEMBIC": "/alembic",
            "DATABASE_URL": "sqlite:////data/demo.db",
            "PORT": str(free_port()),
            "DASHBOARD_PORT": str(free_port()),
            "RUN_DIR": str(run_dir),
        }
        self.url = f"http://127.0.0.1:{self.environment['PORT']}"

    def compose(self, *words: str) -> str:
        return run("sh", "deploy/containers/compose.sh", *words, **self.environment)

    def down(self, *, seconds: int) -> None:
        """Stop and remove everything; podman-compose knows one container of each service alone."""
        started = podman("ps", "--all", "--quiet", "--filter", f"name={container('.*', '')}").split()
        if started:
            podman("stop", "--time", str(seconds), *started)
            podman("rm", "--force", "--depend", "--ignore", *started)
        self.compose("down", "--volumes", "--timeout", "1")

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=httpx.Timeout(30, connect=3)
        )

    def until_healthy(self, *names: str) -> None:
        for name in names:
            until(lambda name=name: healthy(name), patience=90, what=f"the health of {name}")  # type: ignore[misc]


def logs(name: str) -> list[str]:
    done = subprocess.run(["podman", "logs", name], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()


def container(part: str, number: int | str = 1) -> str:
    return f"tandem-test_{part}_{number}"


def healthy(name: str) -> bool:
    """Run the health check that the image or compose.yaml gives; no systemd is needed for that."""
    return subprocess.run(["podman", "healthcheck", "run", name], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    started = Platform(tmp_path_factory.mktemp("run"))
    started.down(seconds=1)  # what a run that was killed has left
    try:
        started.compose("up", "--detach", "--no-build", "--scale", "llm-worker=3")
        started.until_healthy(*(container(part) for part in PARTS))
        yield started
    finally:
        started.down(seconds=40)


@whole
def test_the_demo_runs_against_containers(platform: Platform) -> None:
    output = run(sys.executable, "-m", "tandem.deploy.local.demo", **platform.environment)
    sys.stdout.write(output)
    assert f"using the platform at {platform.url}" in output
    assert "jobs succeeded" in output


@whole
@pytest.mark.parametrize("part", OURS)
def test_nothing_of_ours_has_rights(platform: Platform, part: str) -> None:
    del platform
    lines = podman("exec", container(part), "cat", "/proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert set(status["Uid"].split()) == {"10001"}
    write = "import errno\ntry: open('/app/x', 'w')\nexcept OSError as error: print(errno.errorcode[error.errno])"
    assert podman("exec", container(part), "python", "-c", write) == "EROFS\n"


@whole
def test_scaled_workers_all_run_jobs(platform: Platform) -> None:
    names = [container("llm-worker", number) for number in (1, 2, 3)]
    platform.until_healthy(*names)
    with platform.client() as client:
        queues = client.get("/v1/queues").raise_for_status().json()
    [llm] = [queue for queue in queues["queues"] if queue["name"] == "llm"]
    assert len(llm["workers"]) == len(names)


@whole
def test_a_rolling_restart_under_load_loses_nothing(platform: Platform) -> None:
    with platform.client() as client, Load(platform) as load:
        until(lambda: len(load.accepted) > 20, what="the load")
        restarted = [container("llm-worker", number) for number in (1, 2, 3)]
        restarted += [container(part) for part in ("sync-worker", "clock", "api")]
        for name in restarted:
            podman("restart", "--time", "35", name)
            platform.until_healthy(name)
        load.stopping.set()
        load.join()
        assert load.broke == []
        jobs = [ended(client, job) for job in load.accepted]
    counted = Counter((job["task"], job["status"], job["attempt"]) for job in jobs)
    said = f"{len(jobs)} jobs over {len(restarted)} restarts: {dict(counted)}; {load.refused} submissions sent again\n"
    sys.stdout.write(said)
    again = {job["id"] for job in jobs if job["attempt"] != 1}
    lines = [line for name in restarted for line in logs(name) if any(job in line for job in again)]
    assert counted.keys() == {("chat", "succeeded", 1), ("report", "succeeded", 1)}, "\n".join(lines[:40])


class Load:
    """Clients that submit without a pause, and again what was not answered, by its Idempotency-Key."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.accepted: list[str] = []
        self.refused = 0
        self.broke: list[Exception] = []
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(SUBMITTERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _submit(self, number: int) -> None:
        try:
            self._submit_all(number)
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.broke.append(error)

    def _submit_all(self, number: int) -> None:
        with self._platform.client() as client:
            for _ in range(100_000):
                if self.stopping.is_set():
                    return
                task = "report" if number == 0 else "chat"
                self.accepted.append(self._until_accepted(client, task, str(uuid4())))
                time.sleep(0.05)  # a steady trickle

    def _until_accepted(self, client: httpx.Client, task: str, key: str) -> str:
        said, patience = "nothing was asked", time.monotonic() + 90
        while time.monotonic() < patience:  # also when the load is to end: each is accepted
            try:
                answer = client.post(f"/v1/{task}", json=INPUTS[task], headers={"Idempotency-Key": key})
                if answer.is_success:  # 202, or 200 for the repeat of a job that has ended: the answer was lost
                    return str(answer.json()["id"])
                said = f"{answer.status_code} {answer.text}"
            except httpx.TransportError as error:
                said = repr(error)
            self.refused += 1
            time.sleep(0.1)
        raise AssertionError(f"never accepted: {said}")


INPUTS = {
    "chat": {"messages": [{"role": "user", "content": "Say hello."}]},
    "report": load_catalog()["report"].example,
}


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = client.get(f"/v1/jobs/{job}").raise_for_status().json()
        return seen if seen["status"] in {"succeeded", "failed", "cancelled"} else None

    return until(look, patience=60, what=f"the end of {job}") or {}
