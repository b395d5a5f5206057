"""A Redis of 64 MB that one client, and an application beside us, fill to the brim."""

import os
import secrets
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tandem.deploy.local.ports import free_port
from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tests.support.gateway import KEYS
from tests.support.processes import until
from tests.support.servers.valkey import Valkey
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
ANN = {"Authorization": "Bearer ann-key-0123456789abc"}
MIB = 1024 * 1024
# One in ten is a sync job, and one has a large result.
TASKS = ("odd", "odd", "odd", "odd", "sync_trouble", "odd", "odd", "odd", "odd", "large")


class Flood:
    """A client that submits for as long as it lasts, whatever it is told."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, headers=ANN, timeout=30)
        self._over = threading.Event()
        self.taken: list[str] = []
        self.answers: Counter[int] = Counter()

    @contextmanager
    def on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._submit)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _submit(self) -> None:
        for task in cycle(TASKS):
            if self._over.wait(0 if self.answers[503] == 0 else 0.01):
                return
            how = "large" if task == "large" else secrets.token_hex(50_000)
            answer = self._http.post("/v1/odd" if task == "large" else f"/v1/{task}", json={"how": how})
            if answer.status_code == 503 and not answer.headers.get("retry-after"):
                self.answers[0] += 1
            self.answers[answer.status_code] += 1
            if answer.status_code == 202:
                self.taken.append(answer.json()["id"])


@pytest.fixture
def workers(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with client(own_valkey.url) as connection:
        connection.config_set("maxmemory", "64mb")
        with pool(Book(connection), own_valkey.url, tmp_path / "w", {"TANDEM_API_KEYS": KEYS}) as made:
            yield made


def fill(connection: Any) -> int:
    """Fill what is left, as an application may that keeps its cache here; gives the number of keys."""
    for n in range(1000):
        try:
            connection.set(f"app:{n}", os.urandom(MIB // 8))
        except redis.OutOfMemoryError:
            return n
    raise AssertionError("it has no limit")


def test_a_client_that_goes_on_submitting_stops_nothing(workers: Pool) -> None:
    connection: Any = workers.book.client
    port = free_port()
    workers.start(sys.executable, "-m", "tandem.api", says="", PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    until(lambda: _ready(url), what="the gateway")
    flood = Flood(url)
    with flood.on():
        until(lambda: flood.answers[503] > 50, what="refusals")
        memory = connection.info("memory")
        assert memory["used_memory"] < memory["maxmemory"], "it is refused before Redis is full"
        keys = fill(connection)
        for module in ("tandem.llm_worker", "tandem.sync_worker", "tandem.shared.maintenance"):
            workers.start(sys.executable, "-m", module)
        jobs = workers.finished(list(flood.taken))
        assert {job.status for job in jobs} == {Status.SUCCEEDED}
        assert any(job.result_file for job in jobs)
        connection.delete(*(f"app:{n}" for n in range(keys)))
        with httpx.Client(base_url=url, headers=ANN) as http:
            for job in jobs:
                assert http.delete(f"/v1/jobs/{job.id}").status_code == 204
        until(lambda: len(flood.taken) > len(jobs) + 50, what="submissions that are taken again")
    assert {job.status for job in workers.finished(flood.taken[len(jobs) :])} == {Status.SUCCEEDED}
    assert flood.answers.keys() == {202, 503}, "each refusal says when to come again, and nothing else happens"


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
