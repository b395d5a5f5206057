"""No two horses run one job at once: the one whose lease ended has stopped by then, whatever became of its worker."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import scripts
from tandem.shared.store.executor import Book
from tests.support.processes import Process, until
from tests.support.servers.proxy import Proxy, Way, proxied
from tests.support.servers.valkey import Valkey
from tests.support.workers.rq import Pool, pool, worker_of

pytestmark = pytest.mark.slow

TICKS = 120  # lines of a job, one each tenth of a second: longer than a lease
WORK = 2  # seconds of a job that ends while Redis is away
LIMIT = 4  # seconds: its time limit, also less than a lease


@pytest.fixture
def network(own_valkey: Valkey, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "p", own_valkey.folder / "valkey.sock") as made:
        yield made


@pytest.fixture
def toys(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with pool(own_valkey.url, tmp_path) as made, ExitStack() as stack:
        clock = Process([sys.executable, "-m", "tandem.shared.maintenance"], env=made.env, log=tmp_path / "clock.log")
        stack.callback(clock.stop)
        clock.until_says("ready")
        yield made


def runs(toys: Pool) -> list[int]:
    """Who wrote each line of the job, in order."""
    journal = toys.folder / "ticks"
    return [int(line) for line in journal.read_text().split()] if journal.exists() else []


def taken_over(toys: Pool, job_id: str) -> None:
    """See the second run to its end: the first one has stopped before it."""
    job = toys.ended(job_id)
    assert job.status is Status.SUCCEEDED
    pids = runs(toys)
    first, second = pids[0], pids[-1]
    assert first != second
    begun = pids.index(second)
    assert set(pids[:begun]) == {first}
    assert set(pids[begun:]) == {second}
    assert len(pids) - begun == TICKS


def test_a_suspended_worker_and_its_job_end_with_the_lease(toys: Pool) -> None:
    worker = toys.start("--name", "w1", "default")
    job_id = toys.enqueue("tick", TICKS, str(toys.folder / "ticks"))
    until(lambda: runs(toys), what="the first run")
    worker_of(worker).suspend()
    second = toys.start("--name", "w2", "default")
    taken_over(toys, job_id)
    assert worker.popen.wait(60) == -signal.SIGKILL, "it can't have stopped it itself"
    second.stop()


def test_a_worker_that_redis_does_not_hear_stops_its_job_before_the_lease_ends(
    toys: Pool, network: Proxy, own_valkey: Valkey
) -> None:
    with pool(network.url, toys.folder) as cut_off, client(own_valkey.url) as connection:
        worker = cut_off.start("--name", "w1", "default")
        job_id = Pool(Book(connection), toys.folder, toys.env).enqueue("tick", TICKS, str(toys.folder / "ticks"))
        until(lambda: runs(toys), what="the first run")
        network.partition(Way.UP, Way.DOWN)
        second = toys.start("--name", "w2", "default")
        taken_over(toys, job_id)
        worker.until_says("its lease could not be renewed, its work is stopped")
        assert worker.popen.poll() is None, "it goes on"
        network.partition()
        second.stop()
        assert worker.stop() == 0


# --- what is done is not stopped


@pytest.mark.parametrize("suspend", [False, True], ids=["the worker waits, too", "the worker is suspended"])
def test_a_result_that_waits_for_redis_outlasts_time_limit_and_lease(
    toys: Pool, own_valkey: Valkey, *, suspend: bool
) -> None:
    """It was computed in time; a successor's token would refuse it."""
    worker = toys.start("--name", "w1", "default")
    job_id = toys.enqueue("slow", WORK, str(toys.folder), job_timeout=LIMIT)
    until(lambda: toys.marks("ran"), what="the run")
    held = worker_of(worker)
    if suspend:
        held.suspend()
    own_valkey.process.send_signal(signal.SIGSTOP)
    over = time.monotonic() + scripts.LEASE.total_seconds() + 1
    until(lambda: time.monotonic() > over, what="the lease's end")
    assert worker.popen.poll() is None
    own_valkey.process.send_signal(signal.SIGCONT)
    job = toys.ended(job_id)
    held.resume()
    assert (job.status, job.attempt, job.attempts, job.result) == (Status.SUCCEEDED, 1, [], WORK)
    assert len(toys.marks("ran")) == 1
    assert toys.ended(toys.enqueue("add", 1)).result == 2, "its worker goes on"
    assert worker.stop() == 0
