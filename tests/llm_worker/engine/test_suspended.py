"""A worker that was suspended for longer than a lease, with a way to Redis on which it hears of that a bit later."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tests.support.processes import until
from tests.support.servers.llmock import LlMock
from tests.support.servers.proxy import Proxy, proxied
from tests.support.servers.valkey import Valkey
from tests.support.tasks import SHORT_LEASES
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
MANY = 5  # jobs
LATER = 0.2  # seconds, each way


@pytest.fixture
def workers(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with (
        client(own_valkey.url) as connection,
        pool(Book(connection), own_valkey.url, tmp_path / "w", SHORT_LEASES) as made,
    ):
        yield made


@pytest.fixture
def network(own_valkey: Valkey, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "p", own_valkey.folder / "valkey.sock") as made:
        yield made


def lease_is_over(book: Book) -> bool:
    connection: Any = book.client
    [(_, until_ms)] = connection.zrange("tandem:leases:llm", 0, -1, withscores=True)
    return bool(until_ms < 1000 * book.run(commands.now()).timestamp())


def test_nothing_is_asked_for_a_job_that_is_another_workers_by_now(workers: Pool, network: Proxy, mock: LlMock) -> None:
    """Not even in the moment before the worker hears so: each request costs money."""
    first = workers.start(REDIS_URL=network.url, OPENAI_BASE_URL=mock.url)
    ids = [workers.put("ask later", seconds=1) for _ in range(MANY)]
    until(lambda: len(workers.runs()) == MANY, what="the first runs")
    first.popen.send_signal(signal.SIGSTOP)
    second = workers.start(OPENAI_BASE_URL=mock.url)
    jobs = workers.finished(ids)
    network.delay = LATER
    first.popen.send_signal(signal.SIGCONT)
    until(lambda: all(f"{job} is not ours any more" in first.output for job in ids), what="the word")
    assert [pid for _, pid in workers.runs()] == [first.popen.pid] * MANY + [second.popen.pid] * MANY
    assert {(job.status, job.usage.requests) for job in jobs} == {(Status.SUCCEEDED, 1)}
    assert len(mock.records) == MANY


def test_a_worker_that_kept_its_jobs_asks_when_it_has_heard_so(workers: Pool, network: Proxy, mock: LlMock) -> None:
    """Suspended while nobody else was there to take them."""
    worker = workers.start(REDIS_URL=network.url, OPENAI_BASE_URL=mock.url)
    job_id = workers.put("ask later", seconds=1)
    until(workers.runs, what="the run")
    worker.popen.send_signal(signal.SIGSTOP)
    until(lambda: lease_is_over(workers.book), what="the end of the lease")
    worker.popen.send_signal(signal.SIGCONT)
    [job] = workers.finished([job_id])
    assert (job.status, job.attempt, len(mock.records)) == (Status.SUCCEEDED, 1, 1)
