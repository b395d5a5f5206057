"""Removing what is old: artefacts, records, and what lost its record.

Before that, each record goes by itself: Redis deletes it after TANDEM_JOB_TTL, and the clock removes what still names
it (`trim_indexes` in `shared/store/maintenance.py`).
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs.model import Artefact, Job, at
from tandem.shared.storage.artifacts import job_of
from tandem.shared.store import commands, listing
from tandem.shared.store.listing import Filter
from tandem.shared.tasks.catalog.maintenance import CLEANUP, CleanupInput, CleanupOutput, Removed
from tandem.sync_worker.context import SyncContext, handles

BATCH = 200


@handles(CLEANUP)
def cleanup(ctx: SyncContext, job: CleanupInput) -> CleanupOutput:
    """Remove what was finished before `older_than`; a dry run counts the same and removes nothing."""
    now = ctx.book.run(commands.now())
    before = now - min(job.older_than, now - at(0))  # nothing is older than the clock
    removers = {"files": remove_files, "records": remove_records, "orphans": remove_orphans}
    # In this order: a record's file is an artefact first, and what is left without a record an orphan.
    done = {kind: remove(ctx, job, before) for kind, remove in removers.items() if kind in job.what}
    return CleanupOutput(dry_run=job.dry_run, **done)


def remove_files(ctx: SyncContext, job: CleanupInput, before: datetime) -> Removed:
    """Remove the artefacts of jobs that finished before `before`."""
    removed = Removed()
    for old in _finished(ctx, before):
        if old.file:
            removed = _add(ctx, "files", removed, old.file.bytes)
            if not job.dry_run:
                ctx.files.delete(old.file.key)
                if "records" not in job.what:  # else the record goes next, and is counted as a dry run sees it
                    ctx.book.run(commands.drop_file(old.id))
    return removed


def remove_records(ctx: SyncContext, job: CleanupInput, before: datetime) -> Removed:
    """Remove the records, with their artefacts, of jobs that finished before `before`."""
    removed = Removed()
    for old in _finished(ctx, before):
        uncounted = sum(file.bytes for file in _files(old) if file is not old.file or "files" not in job.what)
        removed = _add(ctx, "records", removed, sum(ctx.book.run_all(commands.sizes(old.id))) + uncounted)
        if not job.dry_run:
            for file in _files(old):
                ctx.files.delete(file.key)
            ctx.book.run(commands.erase(old.id))
    return removed


def remove_orphans(ctx: SyncContext, job: CleanupInput, before: datetime) -> Removed:
    """Remove artefacts that no record names, what killed writers left, and index entries without a record."""
    removed = Removed()
    for entry in ctx.files.list():
        if entry.modified < before and _orphaned(ctx, entry.key):
            removed = _add(ctx, "orphans", removed, entry.bytes)
            if not job.dry_run:
                ctx.files.delete(entry.key)
    for draft in ctx.files.drafts():
        if draft.modified < before and _orphaned(ctx, draft.key):
            removed = _add(ctx, "orphans", removed, draft.bytes)
            if not job.dry_run:
                ctx.files.discard(draft)
    entries = _trim(ctx, None, dry_run=job.dry_run)
    for owner in ctx.book.run(listing.owners()):
        _trim(ctx, owner, dry_run=job.dry_run)
    return Removed(count=removed.count + entries, bytes=removed.bytes)


def _finished(ctx: SyncContext, before: datetime) -> Iterator[Job]:
    """Walk through the jobs that finished before `before`, newest first."""
    position: listing.Position | None = listing.Position(str(round(before.timestamp() * 1000)), "")
    while position:
        page = ctx.book.run(listing.page(Filter(), after=position, limit=BATCH))
        for job_id in page.ids:
            with suppress(UnreadableRecord):  # it goes by its TTL
                job = _read(ctx, job_id)
                if job and job.finished_at and job.finished_at < before:
                    yield job
        position = page.next


def _orphaned(ctx: SyncContext, key: str) -> bool:
    """Tell whether no record names this artefact; a running job's file is not named yet."""
    job_id = job_of(key)
    if job_id is None:
        return False  # the store may be shared: what we did not write is not ours to remove
    try:
        job = _read(ctx, job_id)
    except UnreadableRecord:  # nobody knows
        return False
    return job is None or (job.finished and all(file.key != key for file in _files(job)))


def _read(ctx: SyncContext, job_id: str) -> Job | None:
    """Read a record without its result, which may be large, or spoilt."""
    return ctx.book.run(commands.fetch_bounded(job_id, most=0))


def _files(job: Job) -> list[Artefact]:
    """List what a finished job has in the store of files: its artefact, and a large result."""
    return [file for file in (job.file, job.result_file) if file]


def _trim(ctx: SyncContext, owner: str | None, *, dry_run: bool) -> int:
    total = 0
    start: int | None = 0
    while start is not None:
        dead, start = ctx.book.run(listing.trim(owner, start=start, dry_run=dry_run))
        total += dead
    return total


def _add(ctx: SyncContext, kind: str, removed: Removed, size: int) -> Removed:
    ctx.progress(removed.count + 1, message=kind)
    return Removed(count=removed.count + 1, bytes=removed.bytes + size)
