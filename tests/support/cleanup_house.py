"""A job book and a file store with old and new things in them, for a cleanup."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tandem.shared.jobs.model import Job, Usage
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Success
from tandem.shared.tasks.catalog.maintenance import CLEANUP, CleanupInput, CleanupOutput
from tandem.shared.tasks.catalog.report import REPORT
from tandem.sync_worker.context import SyncContext
from tandem.sync_worker.handlers.cleanup import cleanup
from tests.support.sync_attempts import Start

TTL = timedelta(days=7)
DAY = 86_400
ALL = ("files", "records", "orphans")


class House:
    """A job book and a file store with old and new things in them."""

    def __init__(self, start: Start, book: Book, folder: Path) -> None:
        self._start = start
        self.book = book
        self.redis: Any = book.client  # redis-py's types know bytes keys only
        self.folder = folder / "files"
        self.files = Artifacts(self.folder.as_uri())

    def running(self, *, owner: str = "ada") -> SyncContext:
        """A report that runs and has stored its file already."""
        context = self._start(REPORT, {"markdown": "x"}, owner=owner)
        context.save(name="report.pdf", media_type="application/pdf", content=b"x" * 1000)
        return context

    def finished(self, *, days: float, owner: str = "ada", file: bool = True) -> Job:
        """A report that succeeded so many days ago."""
        context = self.running(owner=owner)
        assert context.file
        success = Success("{}", file=context.file if file else None)
        assert self.book.run(leases.succeed(context.lease, success, usage=Usage(), ttl=TTL))
        if not file:
            self.files.delete(context.file.key)
        return self.age(context.job_id, days)

    def age(self, job_id: str, days: float) -> Job:
        """Set a job, with its file, back in time."""
        then = round((time.time() - days * DAY) * 1000)
        key = Key.JOB + job_id
        times: dict[str, int] = {"created_at": then - 2000, "started_at": then - 1000, "finished_at": then}
        present = {name: moment for name, moment in times.items() if self.redis.hexists(key, name)}
        self.redis.hset(key, mapping=present)
        job = self.job(job_id)
        assert job
        for index in ("tandem:jobs", f"tandem:jobs:{job.owner}"):
            self.redis.zadd(index, {job_id: then - 2000})
        for path in self.folder.glob(f"*/{job_id}/*/*"):
            os.utime(path, (then / 1000, then / 1000))
        return job

    def stray(self, key: str, *, days: float, size: int = 10) -> str:
        """A file, so old."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"s" * size)
        os.utime(path, (time.time() - days * DAY,) * 2)
        return key

    def job(self, job_id: str) -> Job | None:
        return self.book.run(commands.fetch(job_id))

    def keys(self) -> set[str]:
        return {entry.key for entry in self.files.list()}

    def listed(self, owner: str = "") -> set[str]:
        return {name.decode() for name in self._raw(f"tandem:jobs:{owner}" if owner else "tandem:jobs")}

    def _raw(self, index: str) -> Any:
        return self.redis.zrange(index, 0, -1)

    def state(self, *, but: str) -> tuple[Any, ...]:
        """Everything that a cleanup could remove; `but` is its own job, whose progress it tells."""
        drafts = {draft.key for draft in self.files.drafts()}
        keys = sorted(set(self.redis.scan_iter("*")) - {f"{Key.EVENTS}{but}".encode()})
        return (*keys, self.keys(), drafts, self.listed(), self.listed("ada"))

    def clean(self, *what: str, older_than: str = "7d", dry_run: bool = False) -> tuple[CleanupOutput, str]:
        """Clean up, and before it dry: that must tell the same and change nothing. Gives the cleanup's own id too."""
        context = self._start(CLEANUP, {"older_than": older_than}, owner="root")
        body = {"older_than": older_than, "what": what or ALL}
        if not dry_run:
            before = self.state(but=context.job_id)
            dry = cleanup(context, CleanupInput.model_validate({**body, "dry_run": True}))
            assert self.state(but=context.job_id) == before
        done = cleanup(context, CleanupInput.model_validate({**body, "dry_run": dry_run}))
        if not dry_run:
            assert dry.model_copy(update={"dry_run": False}) == done
        return done, context.job_id


def key(job: Job) -> str:
    assert job.file
    return job.file.key
