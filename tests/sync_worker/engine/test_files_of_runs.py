"""Files of a run that has lost its lease: they neither replace those of its successor nor are taken for them."""

from dataclasses import replace

from tandem.shared.jobs.model import Status, Usage
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Success
from tandem.shared.tasks.catalog.report import REPORT
from tandem.sync_worker.context import SyncContext
from tests.support.jobs import TTL, claim_one, expire_lease, get, tick
from tests.support.sync_attempts import Start


def save(run: SyncContext, content: bytes) -> str:
    return run.save(name="report.pdf", media_type="application/pdf", content=content).key


def succeed(book: Book, run: SyncContext) -> bool:
    return book.run(leases.succeed(run.lease, Success("{}", file=run.file), usage=Usage(), ttl=TTL))


def test_a_file_of_a_run_that_lost_its_lease_is_not_its_successors(start: Start, book: Book) -> None:
    old = start(REPORT, {"html": "<p>x"})
    expire_lease(book, old.lease)
    tick(book)
    new = replace(old, lease=claim_one(book, "sync"))
    assert (new.job_id, new.file) == (old.job_id, None)

    keys = [save(old, b"stale"), save(new, b"fresh"), save(old, b"later still")]
    assert keys == [f"ada/{run.job_id}/{run.lease.token}/report.pdf" for run in (old, new, old)]
    assert not succeed(book, old)
    assert get(book, old.job_id).file is None
    assert succeed(book, new)
    assert not succeed(book, old)
    job = get(book, new.job_id)
    assert (job.status, job.file) == (Status.SUCCEEDED, new.file)
    assert job.file
    assert new.files.get(job.file.key) == b"fresh"
