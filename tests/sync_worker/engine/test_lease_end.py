"""No two horses run one job at once: the one whose lease ended has stopped by then, whatever became of its worker."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tests.support.processes import Process, until
from tests.support.servers.proxy import Proxy, Way, proxied
from tests.support.servers.valkey import Valkey
from tests.support.workers.rq import Pool, pool, worker_of

pytestmark = pytest.mark.slow

TICKS = 120  # lines of a job, one each tenth of a second: longer than a lease


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
