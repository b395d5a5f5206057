"""How long a suspect's own process may take: its task's time limit, which stands still while it waits for a limit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Job, Status
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import PLENTY, TTL, claim, expire_lease
from tests.support.processes import until
from tests.support.tasks import SHORT_WATCH
from tests.support.tasks.specs import ASYNC_TROUBLE, TroubleInput
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w", SHORT_WATCH) as made:
        yield made


def suspect(book: Book, how: str) -> str:
    """Submit a job of three seconds at most that has crashed twice."""
    job = submission(ASYNC_TROUBLE, TroubleInput(how=how), owner="ann", request_id="r")
    book.run(store_job(job, PLENTY))
    for _ in range(2):
        [lease] = claim(book)
        expire_lease(book, lease)
    book.run(leases.claim_llm(worker="w", limit=0, ttl=TTL))
    return job.id


def attempts(job: Job) -> list[str]:
    return [entry["type"] for entry in job.attempts]


def test_a_suspect_that_waits_for_a_limit_is_not_taken_for_one_that_hangs(workers: Pool) -> None:
    job_id = suspect(workers.book, "wait for a limit")
    worker = workers.start()
    [job] = workers.finished([job_id])
    assert "runs in a process of its own" in worker.output
    assert (job.status, attempts(job)) == (Status.SUCCEEDED, ["worker_crash"] * 2)


def test_a_suspect_that_blocks_its_loop_is_ended_also_while_it_waits(workers: Pool) -> None:
    job_id = suspect(workers.book, "block beside a wait")
    workers.start()
    until(lambda: len(workers.job(job_id).attempts) == 3, patience=30, what="the end of an attempt that blocks")
    assert attempts(workers.job(job_id))[-1] == "timeout"
