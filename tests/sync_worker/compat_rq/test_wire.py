"""What dispatch writes is what RQ itself would write, and RQ's own tools tell the truth about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rq.job import Job as RqJob
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from tandem.shared.dispatch import rq_hash
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, RetryIn
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.tasks.registry import load
from tandem.sync_worker.dashboard.shown import ShownQueue
from tests.support.jobs import FAILURE, TTL, claim, put, succeed
from tests.support.processes import until

REPORT = load()["report"]


def test_the_wire_format_is_rqs(book: Book) -> None:
    ours = rq_hash(REPORT, "abc")
    fields = dict(zip(ours[::2], ours[1::2], strict=True))
    theirs = RqJob.create(
        "report",
        args=["abc"],
        id="abc",
        origin="sync",
        description="report abc",
        timeout=round(REPORT.timeout.total_seconds()),
        connection=book.client,
        serializer=JSONSerializer,
        status="queued",  # type: ignore[arg-type]  # RQ takes its enum or its value
    ).to_dict()
    volatile = {"created_at", "enqueued_at"}
    assert fields.keys() - volatile == theirs.keys() - volatile
    for name in fields.keys() - volatile:
        assert fields[name] == (theirs[name] if isinstance(theirs[name], bytes) else str(theirs[name])), name


@pytest.fixture
def rq(book: Book) -> Any:
    """RQ's own view (ids waiting as the dashboard's queue has them, status of a job, ids in each registry)."""

    class View:
        def waiting(self) -> list[str]:
            found: list[str] = ShownQueue("sync", connection=book.client).get_job_ids()
            return found

        def status(self, job_id: str) -> str:
            job = RqJob.fetch(job_id, connection=book.client, serializer=JSONSerializer)
            assert (job.func_name, job.args) == ("email", [job_id])
            return str(job.get_status())

        def ids(self, registry: Any) -> list[str]:
            ids: list[str] = registry("sync", connection=book.client).get_job_ids(cleanup=False)
            return ids

    return View()


def test_rqs_view_follows_the_job_book(book: Book, rq: Any) -> None:
    job_id = put(book, "email")
    assert (rq.waiting(), rq.status(job_id)) == ([job_id], "JobStatus.QUEUED")
    [lease] = claim(book, "sync")
    assert (rq.waiting(), rq.ids(StartedJobRegistry), rq.status(job_id)) == ([], [job_id], "JobStatus.STARTED")
    book.run(leases.give_up(lease, RetryIn(TTL, FAILURE), usage=Usage(), ttl=TTL))
    assert (rq.ids(StartedJobRegistry), rq.ids(ScheduledJobRegistry)) == ([], [job_id])
    assert rq.status(job_id) == "JobStatus.SCHEDULED"


TICK = timedelta(milliseconds=1)  # of the times in the book


def test_a_job_that_waits_again_says_since_when(book: Book) -> None:
    def enqueued() -> datetime:
        job = RqJob.fetch(job_id, connection=book.client, serializer=JSONSerializer)
        assert job.enqueued_at
        return job.enqueued_at

    job_id = put(book, "email")
    first = enqueued()
    until(lambda: datetime.now(UTC) > first + TICK)
    [lease] = claim(book, "sync")
    book.run(leases.give_up(lease, RetryIn(timedelta(0), FAILURE), usage=Usage(), ttl=TTL))
    second = enqueued()
    assert first < second
    until(lambda: datetime.now(UTC) > second + TICK)
    [lease] = claim(book, "sync")
    book.run(leases.give_up(lease, Fail(FAILURE), usage=Usage(), ttl=TTL))
    book.run(commands.retry(job_id))
    assert second < enqueued()


@pytest.mark.parametrize("good", [True, False])
def test_the_end_is_in_the_right_registry(book: Book, rq: Any, *, good: bool) -> None:
    job_id = put(book, "email")
    [lease] = claim(book, "sync")
    if good:
        succeed(book, lease)
    else:
        book.run(leases.give_up(lease, Fail(FAILURE), usage=Usage(), ttl=TTL))
    registry = FinishedJobRegistry if good else FailedJobRegistry
    assert (rq.ids(registry), rq.ids(StartedJobRegistry), rq.waiting()) == ([job_id], [], [])
    assert rq.status(job_id) == ("JobStatus.FINISHED" if good else "JobStatus.FAILED")
