"""What a killed process or an outage of Redis does to accepted jobs: nothing."""

import asyncio
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.redis_client import async_client, client, wait_until_ready
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import load
from tests.support.gateway import KEYS
from tests.support.jobs import PLENTY
from tests.support.keyspace.problems import problems
from tests.support.platform import CHAT, Platform, platform
from tests.support.processes import running, until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("part", ["api", "redis", "clock"])
def test_killing_it_under_load_loses_no_accepted_job(shared_platform: Platform, part: str) -> None:
    accepted: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        bodies: list[tuple[str, Any]] = [("chat", CHAT)] * 9 + [("report", {"markdown": "# Load"})]
        while not stop.is_set():
            for task, body in bodies:
                try:
                    with shared_platform.client() as client:
                        answer = client.post(f"/v1/{task}", json=body)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 202:
                    accepted.append(answer.json()["id"])

    submitter = threading.Thread(target=submit)
    submitter.start()
    for _ in range(2):
        _until_more(accepted)
        until(lambda: part in shared_platform.parts(), what=part)
        shared_platform.parts()[part].send_signal(signal.SIGKILL)
    _until_more(accepted)
    stop.set()
    submitter.join()
    jobs = shared_platform.until_finished(accepted)
    assert {job["status"] for job in jobs} == {"succeeded"}
    with client((shared_platform.folder / "redis.url").read_text().strip()) as connection:
        until(lambda: not problems(connection), what=f"an orderly key space: {problems(connection)[:5]}")


def _until_more(accepted: list[str]) -> None:
    enough = len(accepted) + 30
    until(lambda: len(accepted) >= enough, what="more accepted jobs")


FLOODS = [("chat", CHAT, "LLM_WORKERS", "report"), ("report", {"markdown": "# Flood"}, "SYNC_WORKERS", "chat")]


@pytest.mark.parametrize(("task", "body", "stopped", "other"), FLOODS)
def test_the_pools_are_independent(tmp_path: Path, task: str, body: Any, stopped: str, other: str) -> None:
    """With one pool stopped and 20,000 jobs waiting for it, the other one works as ever."""
    sizes = {"LLM_WORKERS": "1", "SYNC_WORKERS": "1", stopped: "0"}
    with platform(tmp_path / "p", **sizes) as running_platform:
        asyncio.run(_flood((running_platform.folder / "redis.url").read_text().strip(), task, body))
        bodies: dict[str, Any] = {"chat": CHAT, "report": {"markdown": "# Not behind them"}}
        assert running_platform.run(other, bodies[other])["status"] == "succeeded"
        with running_platform.client() as client:
            waiting = client.get(f"/v1/jobs?task={task}&limit=1").json()["jobs"]
        assert waiting[0]["status"] == "queued"


async def _flood(url: str, task: str, body: Any) -> None:
    book = AsyncBook(async_client(url))
    dispatcher, spec = Dispatcher(book, admission=PLENTY, idempotency_ttl=timedelta(hours=1)), load()[task]
    user = ApiKey("user", Role.USER, "a-key-0123456789")
    payload = spec.input.model_validate(body)
    for _ in range(200):
        await asyncio.gather(*(dispatcher.enqueue(spec, payload, caller=user, request_id="r") for _ in range(100)))
    await book.aclose()


def test_redis_away_is_503_and_comes_back_without_a_restart(own_valkey: Valkey, tmp_path: Path) -> None:
    port = free_port()
    env = {"REDIS_URL": own_valkey.url, "PORT": str(port), "TANDEM_API_KEYS": KEYS, "RUN_DIR": str(tmp_path)}
    headers = {"Authorization": "Bearer ann-key-0123456789abc"}
    with (
        running("tandem.api", env=env, log=tmp_path / "api.log", says="listening"),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client,
    ):
        accepted = client.post("/v1/chat", json=CHAT).json()["id"]
        own_valkey.kill()
        for answer in (client.post("/v1/chat", json=CHAT), client.get("/readyz"), client.get(f"/v1/jobs/{accepted}")):
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
        assert client.get("/healthz").status_code == 200
        own_valkey.start()
        until(lambda: client.get("/readyz").status_code == 200, what="readiness")
        assert client.get(f"/v1/jobs/{accepted}").json()["status"] == "queued"
        assert client.post("/v1/chat", json=CHAT).status_code == 202


def test_a_process_waits_for_redis_at_start(own_valkey: Valkey, tmp_path: Path) -> None:
    own_valkey.kill()
    env = {"REDIS_URL": own_valkey.url, "RUN_DIR": str(tmp_path), "TANDEM_LOG_FORMAT": "console"}
    with running("tandem.shared.maintenance", env=env, log=tmp_path / "log", says="waiting for Redis") as clock:
        own_valkey.start()
        clock.until_says("ready")


def test_it_does_not_wait_for_ever() -> None:
    with pytest.raises(StoreUnavailable, match="did not answer for 1 s"):
        wait_until_ready(f"redis://127.0.0.1:{free_port()}/0", patience=1)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_redis_that_evicts_jobs_is_refused(own_valkey: Valkey, policy: str, tmp_path: Path) -> None:
    own_valkey.kill()
    own_valkey.start("--maxmemory-policy", policy)
    with pytest.raises(StoreUnavailable, match=policy):
        wait_until_ready(own_valkey.url)
    own_valkey.kill()
    own_valkey.start("--maxmemory-policy", "volatile-lru", "--appendonly", "no")
    env = {"REDIS_URL": own_valkey.url, "RUN_DIR": str(tmp_path), "TANDEM_LOG_FORMAT": "console"}
    with running("tandem.shared.maintenance", env=env, log=tmp_path / "log", says="ready") as clock:
        assert "keeps no append-only file" in clock.output


def test_a_worker_outlives_redis_and_writes_its_result(own_valkey: Valkey, tmp_path: Path) -> None:
    """Redis dies while jobs run; their results are written when it is back."""
    with platform(tmp_path / "p", REDIS_URL=own_valkey.url) as running_platform:
        base = (running_platform.folder / "llm.url").read_text().strip().removesuffix("/v1")
        scenario = {"behaviors": [{"type": "delay", "seconds": 1.5, "times": 5}]}
        assert httpx.post(f"{base}/_llmock/scenario", json=scenario).is_success
        with running_platform.client() as client:
            ids = [client.post("/v1/chat", json=CHAT).json()["id"] for _ in range(5)]
            until(lambda: {client.get(f"/v1/jobs/{i}").json()["status"] for i in ids} == {"running"}, what="running")
        workers = {name: process.pid for name, process in running_platform.parts().items() if "worker" in name}
        own_valkey.kill()
        waits = "finish waits for Redis"
        until(lambda: running_platform.process.output.count(waits) >= 5, what="results that wait for Redis")
        own_valkey.start()
        jobs = running_platform.until_finished(ids)
        assert [(job["status"], job["attempt"]) for job in jobs] == [("succeeded", 1)] * 5
        assert workers == {name: process.pid for name, process in running_platform.parts().items() if "worker" in name}
