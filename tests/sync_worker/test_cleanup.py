"""The cleanup task on a real job book and real files."""

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import scripts, store
from shared.attempt import Fail, Failure
from shared.book import Book
from shared.catalog.report import REPORT
from shared.catalog.upkeep import CLEANUP, CleanupInput, CleanupOutput, Removed
from shared.files import Files
from shared.job import Artefact, Job, Status, Usage
from shared.store import Success
from sync_worker.context import SyncContext
from sync_worker.handlers.cleanup import cleanup
from tests.sync_worker.conftest import Start

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
        self.files = Files(self.folder.as_uri())

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
        assert self.book.run(store.succeed(context.lease, success, usage=Usage(), ttl=TTL))
        if not file:
            self.files.delete(context.file.key)
        return self.age(context.job_id, days)

    def age(self, job_id: str, days: float) -> Job:
        """Set a job, with its file, back in time."""
        then = round((time.time() - days * DAY) * 1000)
        key = scripts.JOB + job_id
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
        return self.book.run(store.fetch(job_id))

    def keys(self) -> set[str]:
        return {entry.key for entry in self.files.list()}

    def listed(self, owner: str = "") -> set[str]:
        return {name.decode() for name in self._raw(f"tandem:jobs:{owner}" if owner else "tandem:jobs")}

    def _raw(self, index: str) -> Any:
        return self.redis.zrange(index, 0, -1)

    def state(self) -> tuple[Any, ...]:
        """Everything that a cleanup could remove."""
        drafts = {draft.key for draft in self.files.drafts()}
        return (*(sorted(self.redis.scan_iter("*"))), self.keys(), drafts, self.listed(), self.listed("ada"))

    def clean(self, *what: str, older_than: str = "7d", dry_run: bool = False) -> tuple[CleanupOutput, str]:
        """Clean up, and before it dry: that must tell the same and change nothing. Gives the cleanup's own id too."""
        context = self._start(CLEANUP, {"older_than": older_than}, owner="root")
        body = {"older_than": older_than, "what": what or ALL}
        if not dry_run:
            before = self.state()
            dry = cleanup(context, CleanupInput.model_validate({**body, "dry_run": True}))
            assert self.state() == before
        done = cleanup(context, CleanupInput.model_validate({**body, "dry_run": dry_run}))
        if not dry_run:
            assert dry.model_copy(update={"dry_run": False}) == done
        return done, context.job_id


@pytest.fixture
def house(start: Start, book: Book, tmp_path: Path) -> House:
    return House(start, book, tmp_path)


def key(job: Job) -> str:
    assert job.file
    return job.file.key


def test_nothing_to_do(house: House) -> None:
    done, _ = house.clean()
    assert done == CleanupOutput(dry_run=False, files=Removed(), records=Removed(), orphans=Removed())


# --- each kind


def test_files_of_old_jobs_go_and_their_records_stay(house: House) -> None:
    old, young = house.finished(days=8), house.finished(days=6)
    bare = house.finished(days=8, file=False)
    done, _ = house.clean("files")
    assert done == CleanupOutput(dry_run=False, files=Removed(count=1, bytes=1000))
    assert house.keys() == {key(young)}
    kept = house.job(old.id)
    assert kept
    assert (kept.status, kept.file) == (Status.SUCCEEDED, None)
    assert house.job(young.id) == young
    assert house.job(bare.id) == bare
    assert house.clean("files")[0].files == Removed()


def test_records_of_old_jobs_go_with_their_files_and_index_entries(house: House) -> None:
    old, young = house.finished(days=8), house.finished(days=6)
    bare = house.finished(days=8, file=False)
    size = sum(house.book.run(store.size(job.id)) for job in (old, bare))
    done, own = house.clean("records")
    assert done == CleanupOutput(dry_run=False, records=Removed(count=2, bytes=size + 1000))
    assert size > 0
    assert house.job(old.id) is None
    assert house.keys() == {key(young)}
    assert house.listed() == {young.id, own}
    assert house.listed("ada") == {young.id}
    assert list(house.redis.scan_iter(f"*{old.id}*")) == []
    assert house.redis.zscore("rq:finished:sync", old.id) is None


def test_failed_jobs_go_alike(house: House) -> None:
    context = house.running()
    failure = Fail(Failure("oops", "it broke", retryable=False))
    house.book.run(store.give_up(context.lease, failure, usage=Usage(), ttl=TTL))
    house.age(context.job_id, 8)
    done, _ = house.clean("records")
    assert done.records
    assert done.records.count == 1
    assert house.job(context.job_id) is None


def test_orphans_are_files_and_index_entries_without_a_record(house: House) -> None:
    young, old = house.finished(days=6), house.finished(days=8)
    expired = house.finished(days=8)
    house.redis.delete(scripts.JOB + expired.id)  # what the TTL does
    house.stray("ada/01ARZ3NDEKTSV4RRFFQ69G5FAV/1/x.pdf", days=8, size=30)
    foreign = [house.stray(key, days=8) for key in ("loose.txt", "backups/2025/db.dump", "a/b/1/c")]
    fresh = house.stray("ada/01ARZ3NDEKTSV4RRFFQ69G5FAW/1/x.pdf", days=6)
    done, own = house.clean("orphans")
    # Two files, and one entry of the index of all jobs.
    assert done == CleanupOutput(dry_run=False, orphans=Removed(count=3, bytes=1000 + 30))
    assert house.keys() == {key(young), key(old), fresh, *foreign}
    assert house.listed() == {young.id, old.id, own}
    assert house.listed("ada") == {young.id, old.id}
    assert house.clean("orphans")[0].orphans == Removed()


def test_the_index_of_every_owner_is_trimmed(house: House) -> None:
    jobs = [house.finished(days=8, owner=owner, file=False) for owner in ("ada", "bob", "eve") for _ in range(3)]
    kept = house.finished(days=8, owner="bob")
    house.redis.delete(*(scripts.JOB + job.id for job in jobs))
    done, own = house.clean("orphans")
    assert done.orphans == Removed(count=9)
    assert [house.listed(owner) for owner in ("ada", "bob", "eve")] == [set(), {kept.id}, set()]
    assert house.listed() == {kept.id, own}


def test_an_index_longer_than_one_stretch(house: House) -> None:
    """The script looks at 500 entries a step; what it removes must not make it skip others."""
    kept = house.finished(days=8)
    dead = {f"dead-{number:04}": number for number in range(1300)}
    for index in ("tandem:jobs", "tandem:jobs:ada"):
        house.redis.zadd(index, dead)
    done, own = house.clean("orphans")
    assert done.orphans == Removed(count=1300)
    assert house.listed() == {kept.id, own}
    assert house.listed("ada") == {kept.id}


def test_it_tells_how_far_it_is(house: House) -> None:
    for _ in range(3):
        house.finished(days=9)
    context = house.running()
    cleanup(context, CleanupInput(older_than=timedelta(days=7), what=("files",), dry_run=True))
    job = house.job(context.job_id)
    assert job
    assert job.progress == {"done": 1, "total": None, "message": "files"}  # the others came too soon after it
    for total in (1, 9):
        context.progress(1, total, "mails")
    job = house.job(context.job_id)
    assert job
    assert job.progress == {"done": 1, "total": 1, "message": "mails"}


def test_more_jobs_than_one_page(house: House) -> None:
    jobs = [house.finished(days=8 + number / 1000, file=number % 2 == 0) for number in range(210)]
    young = [house.finished(days=1) for _ in range(3)]
    done, _ = house.clean("files", "records")
    assert done.files == Removed(count=105, bytes=105_000)
    assert done.records
    assert done.records.count == len(jobs)
    assert house.keys() == {key(job) for job in young}


def test_all_kinds_together_count_each_byte_once(house: House) -> None:
    old = [house.finished(days=8) for _ in range(2)]
    house.stray(f"ada/{old[0].id}/7/report.pdf", days=8, size=44)
    size = sum(house.book.run(store.size(job.id)) for job in old)
    done, own = house.clean()
    assert done.files == Removed(count=2, bytes=2000)
    assert done.records == Removed(count=2, bytes=size)
    assert done.orphans == Removed(count=1, bytes=44)
    assert house.keys() == set()
    assert house.listed() == {own}


# --- what is spared


@pytest.mark.parametrize("what", [*((kind,) for kind in ALL), ALL], ids="+".join)
def test_a_running_job_and_its_file_are_spared_however_old(house: House, what: Sequence[str]) -> None:
    context = house.running()
    house.age(context.job_id, 30)
    house.stray(f"ada/{context.job_id}/0/report.pdf", days=30)  # an earlier attempt's: the job may still run again
    before = house.keys()
    done, _ = house.clean(*what, older_than="0")
    assert not [removed for removed in (done.files, done.records, done.orphans) if removed and removed.count]
    assert house.keys() == before
    assert len(before) == 2
    job = house.job(context.job_id)
    assert job
    assert job.status is Status.RUNNING
    assert house.book.run(store.renew("sync", [context.lease], worker="w")) == [], "it keeps its lease"


def test_a_job_that_waits_for_its_next_attempt_is_spared(house: House) -> None:
    context = house.running()
    house.book.run(store.crash(context.lease, ttl=TTL, delay=timedelta(hours=1)))
    house.age(context.job_id, 30)
    before = house.keys()
    house.clean(older_than="0")
    assert house.keys() == before != set()
    assert house.job(context.job_id)


def test_the_cleanup_spares_itself(house: House) -> None:
    _, own = house.clean(older_than="0")
    job = house.job(own)
    assert job
    assert job.status is Status.RUNNING


@pytest.mark.parametrize(("older_than", "gone"), [("0", 3), ("30m", 2), ("36h", 1), ("P2D", 1), ("7d", 0)])
def test_younger_ones_are_spared(house: House, older_than: str, gone: int) -> None:
    jobs = [house.finished(days=days) for days in (2.5, 0.5, 0.001)]
    done, _ = house.clean("records", older_than=older_than)
    assert done.records
    assert done.records.count == gone
    assert [house.job(job.id) is None for job in jobs] == [True] * gone + [False] * (3 - gone)


@pytest.mark.parametrize("older_than", ["20000d", "999999999d", "P900000D"])
def test_an_age_before_all_time_removes_nothing(house: House, older_than: str) -> None:
    job = house.finished(days=300)
    house.stray("ada/01ARZ3NDEKTSV4RRFFQ69G5FAV/1/x.pdf", days=300)
    done, _ = house.clean(older_than=older_than)
    assert [removed.count for removed in (done.files, done.records, done.orphans) if removed] == [0, 0, 0]
    assert house.job(job.id) == job


def test_a_job_that_took_long_counts_from_its_end(house: House) -> None:
    job = house.finished(days=6)
    house.redis.hset(scripts.JOB + job.id, "created_at", 1)
    for index in ("tandem:jobs", "tandem:jobs:ada"):
        house.redis.zadd(index, {job.id: 1})
    done, _ = house.clean("files", "records")
    assert done.records == Removed()
    assert house.keys() == {key(job)}


# --- what remains of lost attempts


def test_the_files_of_lost_attempts_are_orphans_once_the_job_is_over(house: House) -> None:
    job = house.finished(days=8)
    lost = house.stray(f"ada/{job.id}/0/report.pdf", days=8, size=70)
    beside = house.stray(f"ada/{job.id}/1/draft.pdf", days=8, size=7)
    done, _ = house.clean("orphans")
    assert done.orphans == Removed(count=2, bytes=77)
    assert {lost, beside}.isdisjoint(house.keys())
    assert house.keys() == {key(job)}


def test_what_a_killed_writer_left_is_an_orphan(house: House) -> None:
    job, running = house.finished(days=8), house.running()
    dead = house.stray(f"ada/{job.id}/0/report.pdf#1", days=8, size=70)
    alive = house.stray(f"ada/{running.job_id}/1/report.pdf#1", days=8)
    foreign = house.stray("somebody/notes.txt#1", days=8)
    done, _ = house.clean("orphans")
    assert done.orphans == Removed(count=1, bytes=70)
    assert [(house.folder / name).exists() for name in (dead, alive, foreign)] == [False, True, True]


def test_the_file_of_a_failed_attempt_is_an_orphan(house: House) -> None:
    context = house.running()
    failure = Fail(Failure("oops", "it broke", retryable=False))
    house.book.run(store.give_up(context.lease, failure, usage=Usage(), ttl=TTL))
    house.age(context.job_id, 8)
    assert house.clean("files")[0].files == Removed()
    assert house.clean("orphans")[0].orphans == Removed(count=1, bytes=1000)
    assert house.keys() == set()


def test_a_file_that_is_gone_already_stops_nobody(house: House) -> None:
    one, two = house.finished(days=9), house.finished(days=8)
    house.files.delete(key(one))
    done, _ = house.clean("files")
    assert done.files
    assert done.files.count == 2
    assert house.keys() == set()
    assert two.id in house.listed()


def test_a_dry_run_says_so_and_removes_nothing(house: House) -> None:
    house.finished(days=8)
    house.stray("ada/01ARZ3NDEKTSV4RRFFQ69G5FAV/1/x.pdf", days=8)
    before = (house.keys(), house.listed("ada"))
    done, _ = house.clean(dry_run=True)
    assert done.dry_run
    assert [removed.count for removed in (done.files, done.records, done.orphans) if removed] == [1, 1, 1]
    assert (house.keys(), house.listed("ada")) == before


def test_an_artefact_knows_its_place(house: House) -> None:
    """What the orphans' check leans on: the job's id is the second part of the key."""
    context = house.running()
    assert isinstance(context.file, Artefact)
    assert context.file.key.split("/")[:2] == ["ada", context.job_id]
