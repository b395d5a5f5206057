"""Redis hangs, or a network forgets connections: who speaks to it gets no answer, and nobody says why.

Who is told to stop ends soon after its grace. Where new connections are served, work goes on within seconds.
"""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import PLENTY
from tests.support.processes import Process, until
from tests.support.servers.proxy import Proxy, Way, proxied
from tests.support.servers.valkey import Valkey
from tests.support.tasks.specs import JOURNAL, JournalInput
from tests.support.workers import rq
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("queue", ["llm", "sync"])
LONG = 300.0  # seconds of a job
SOON = 30.0  # seconds: less than the tries of two commands, one after the other
SECONDS = 15.0  # of a command's time-out and another try, on a busy machine


@pytest.fixture
def workers(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with client(own_valkey.url) as connection, pool(Book(connection), own_valkey.url, tmp_path / "w") as made:
        yield made


@pytest.fixture
def network(own_valkey: Valkey, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "p", own_valkey.folder / "valkey.sock") as made:
        yield made


def start(workers: Pool, network: Proxy, queue: str) -> Process:
    command = [sys.executable, "-m", f"tandem.{queue}_worker"]
    return workers.start(*command, REDIS_URL=network.url, JOURNAL=str(workers.folder / "journal"))


def put(workers: Pool, queue: str, seconds: float = LONG) -> str:
    if queue == "llm":
        return workers.put("wait", seconds=seconds)
    job = submission(JOURNAL, JournalInput(marker="", seconds=seconds), owner="ann", request_id="r", options=Options())
    assert isinstance(workers.book.run(store_job(job, PLENTY)), Stored)
    return job.id


@both
@pytest.mark.parametrize("is_busy", [False, True])
def test_a_worker_that_is_told_to_stop_ends(workers: Pool, network: Proxy, queue: str, *, is_busy: bool) -> None:
    worker = start(workers, network, queue)
    if is_busy:
        job_id = put(workers, queue)
        until(lambda: workers.job(job_id).status is Status.RUNNING, what="the claim")
    network.partition(Way.DOWN)
    until(lambda: network.held[Way.DOWN], what="a command without an answer")
    assert worker.stop(patience=SOON) == 0


# --- the connections there are go dead, silently


def is_held(workers: Pool, job_id: str) -> bool:
    """Say whether a worker has said that it runs a job: it has heard of its claim."""
    connection: Any = workers.book.client
    running = [connection.hget(key, "running") or b"" for key in connection.scan_iter("tandem:worker:*")]
    return any(job_id.encode() in ids for ids in running)


def start_job(workers: Pool, network: Proxy, queue: str, seconds: float = LONG) -> tuple[Process, str]:
    """Start a worker that runs a job when its connections go dead."""
    worker, job_id = start(workers, network, queue), put(workers, queue, seconds)
    until(lambda: is_held(workers, job_id), what="a renewal of its lease")
    network.strand()
    return worker, job_id


@both
def test_a_worker_whose_connections_went_dead_claims_again(workers: Pool, network: Proxy, queue: str) -> None:
    start(workers, network, queue)
    [first] = workers.finished([put(workers, queue, seconds=0)])
    assert first.status is Status.SUCCEEDED
    network.strand()
    workers.finished([put(workers, queue, seconds=0)], patience=SECONDS)


@both
def test_a_worker_whose_connections_went_dead_keeps_its_leases(workers: Pool, network: Proxy, queue: str) -> None:
    workers.start(sys.executable, "-m", "tandem.shared.maintenance")
    _, job_id = start_job(workers, network, queue, seconds=2 * scripts.LEASE.total_seconds())
    workers.start(sys.executable, "-m", f"tandem.{queue}_worker", JOURNAL=str(workers.folder / "other"))
    [job] = workers.finished([job_id])
    assert (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, [])


def test_a_sync_worker_whose_connections_went_dead_heeds_a_cancel(workers: Pool, network: Proxy) -> None:
    worker, job_id = start_job(workers, network, "sync")
    workers.book.run(commands.cancel(job_id, ttl=timedelta(days=1)))
    worker.until_says("is not ours any more", patience=SECONDS)


def test_a_sync_worker_whose_connections_went_dead_keeps_to_the_time_limit(workers: Pool, network: Proxy) -> None:
    workers.folder.mkdir()
    with rq.pool(network.url, workers.folder) as toys:
        worker = toys.start("default")
        job_id = toys.enqueue("slow", LONG, str(workers.folder), job_timeout=2)
        until(lambda: toys.marks("ran"), what="the run")
        network.strand()
        [job] = workers.finished([job_id], patience=SECONDS)
        assert job.error
        assert job.error["type"] == "timeout"
        worker.stop()


def test_a_sync_worker_whose_connections_went_dead_hands_back_when_it_is_told_to_stop(
    workers: Pool, network: Proxy
) -> None:
    worker, job_id = start_job(workers, network, "sync")
    assert worker.stop(patience=SECONDS) == 0
    job = workers.job(job_id)
    assert (job.status, job.attempt, job.attempts) == (Status.QUEUED, 0, [])
