"""Redis goes away between a claim and its answer, and the worker has to end: its jobs lose no attempt."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import AnySpec
from tests.support.jobs import PLENTY, tick
from tests.support.processes import Process, until
from tests.support.servers.proxy import Proxy, Way, proxied
from tests.support.servers.valkey import Valkey
from tests.support.tasks.specs import ASYNC_TELLING, SYNC_TELLING, TellingInput
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
SPECS: dict[str, AnySpec] = {"llm": ASYNC_TELLING, "sync": SYNC_TELLING}
both = pytest.mark.parametrize("queue", SPECS)


@pytest.fixture
def workers(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with client(own_valkey.url) as connection, pool(Book(connection), own_valkey.url, tmp_path / "w") as made:
        yield made


@pytest.fixture
def network(own_valkey: Valkey, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "p", own_valkey.folder / "valkey.sock") as made:
        yield made


def lose_the_answer(workers: Pool, network: Proxy, valkey: Valkey, queue: str, *, grace: int) -> tuple[Process, str]:
    """Start a worker; Redis leases it a job and goes away with the answer. Gives the worker and the job."""
    spec = SPECS[queue]
    job = submission(spec, TellingInput(how="nothing", secret="s"), owner="ann", request_id="r", options=Options())
    assert isinstance(workers.book.run(store_job(job, PLENTY)), Stored)
    claim = scripts.SCRIPTS[f"claim_{queue}"]
    workers.book.client.function_load(claim.source, replace=True)

    def swallow(piece: bytes) -> None:
        if claim.function.encode() in piece:
            network.partition(Way.DOWN)

    network.before = swallow
    tick(workers.book)  # the last sign of life before the outage
    worker = start(workers, queue, REDIS_URL=network.url, TANDEM_GRACE=str(grace))
    until(lambda: workers.job(job.id).status is Status.RUNNING, what="the claim")
    valkey.kill()
    network.cut()
    return worker, job.id


def start(workers: Pool, queue: str, **env: str) -> Process:
    return workers.start(sys.executable, "-m", f"tandem.{queue}_worker", **env)


@both
def test_a_worker_that_ends_gives_back_a_claim_without_an_answer(
    workers: Pool, network: Proxy, own_valkey: Valkey, queue: str
) -> None:
    worker, job_id = lose_the_answer(workers, network, own_valkey, queue, grace=60)
    worker.until_says("no jobs for now")
    worker.popen.terminate()
    worker.until_says("disclaim waits for Redis")
    network.partition()
    own_valkey.start()
    assert worker.popen.wait(60) == 0
    job = workers.job(job_id)
    assert (job.status, job.attempt, job.attempts, job.started_at) == (Status.QUEUED, 0, [], None)


@both
def test_a_claim_that_the_clock_finds_was_never_heard_of_burns_no_attempt(
    workers: Pool, network: Proxy, own_valkey: Valkey, queue: str
) -> None:
    worker, job_id = lose_the_answer(workers, network, own_valkey, queue, grace=1)
    worker.until_says("no jobs for now")
    assert worker.stop() == 0
    assert "comes back when its lease is over" in worker.output
    time.sleep(scripts.GAP.total_seconds())  # the outage is as long as one that is noticed
    own_valkey.start()
    start(workers, queue)
    workers.start(sys.executable, "-m", "tandem.shared.maintenance")
    [job] = workers.finished([job_id])
    # What such a job returns is refused, for good: that is its one attempt, and no other is told of.
    assert (job.attempt, [attempt["type"] for attempt in job.attempts]) == (1, ["invalid_result"])
