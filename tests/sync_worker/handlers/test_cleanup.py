"""The cleanup task on a real job book and real files."""

from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.jobs.model import Artefact, Status, Usage
from tandem.shared.jobs.retry import Fail, Failure
from tandem.shared.storage.artifacts import LARGE
from tandem.shared.store import commands, leases
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Success
from tandem.shared.tasks.catalog.maintenance import CleanupInput, CleanupOutput, Removed
from tandem.sync_worker.handlers.cleanup import cleanup
from tests.support.cleanup_house import TTL, House, key


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
    size = sum(sum(house.book.run_all(commands.sizes(job.id))) for job in (old, bare))
    done, own = house.clean("records")
    assert done == CleanupOutput(dry_run=False, records=Removed(count=2, bytes=size + 1000))
    assert size > 0
    assert house.job(old.id) is None
    assert house.keys() == {key(young)}
    assert house.listed() == {young.id, own}
    assert house.listed("ada") == {young.id}
    assert list(house.redis.scan_iter(f"*{old.id}*")) == []
    assert house.redis.zscore("rq:finished:sync", old.id) is None


def test_a_large_result_goes_with_its_record_and_no_sooner(house: House) -> None:
    run = house.running()
    place: dict[str, Any] = {"owner": run.owner, "job": run.job_id, "run": run.lease.token}
    result = house.files.put_result(**place, result=f'"{"x" * LARGE}"')
    assert isinstance(result, Artefact)
    house.book.run(leases.succeed(run.lease, Success(result, file=run.file), usage=Usage(), ttl=TTL))
    old = house.age(run.job_id, 8)
    assert house.clean("orphans")[0].orphans == Removed()
    assert house.clean("files")[0].files == Removed(count=1, bytes=1000)
    assert house.keys() == {result.key}
    size = sum(house.book.run_all(commands.sizes(old.id)))
    assert house.clean("records")[0].records == Removed(count=1, bytes=size + result.bytes)
    assert house.keys() == set()


def test_failed_jobs_go_alike(house: House) -> None:
    context = house.running()
    failure = Fail(Failure("oops", "it broke", retryable=False))
    house.book.run(leases.give_up(context.lease, failure, usage=Usage(), ttl=TTL))
    house.age(context.job_id, 8)
    done, _ = house.clean("records")
    assert done.records
    assert done.records.count == 1
    assert house.job(context.job_id) is None


def test_orphans_are_files_and_index_entries_without_a_record(house: House) -> None:
    young, old = house.finished(days=6), house.finished(days=8)
    expired = house.finished(days=8)
    house.redis.delete(Key.JOB + expired.id)  # what the TTL does
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


def test_the_files_of_a_schedules_job_are_orphans_as_others_are(house: House) -> None:
    """Its id is no ULID: the schedule's name and the due time."""
    report, result = (f"ada/week-ly_1-20251101T060000Z/17-5f0c93ab/{name}" for name in ("report.pdf", "~result.json"))
    for name in (report, result, f"{report}#1"):
        house.stray(name, days=8, size=30)
    assert house.clean("orphans")[0].orphans == Removed(count=3, bytes=90)
    assert house.keys() == set()


@pytest.mark.parametrize("what", ["a record", "a result"])
def test_what_is_spoilt_stops_nobody(house: House, what: str) -> None:
    """Nobody knows what a spoilt record names: it and its files stay. A result is not read at all."""
    spoilt, old = house.finished(days=9), house.finished(days=8)
    if what == "a record":
        house.redis.hset(Key.JOB + spoilt.id, "usage_input", "many")
    else:
        house.redis.hdel(Key.JOB + spoilt.id, "result")
        house.redis.hset(Key.JOB + spoilt.id, "result_bytes", 100)
        house.redis.set(Key.RESULT + spoilt.id, b"\x01spoilt")
    stays = {key(spoilt)} if what == "a record" else set()
    assert house.clean("orphans")[0].orphans == Removed()
    assert house.keys() == {key(spoilt), key(old)}
    done, _ = house.clean("records")
    assert done.records
    assert done.records.count == 2 - len(stays)
    assert house.keys() == stays


def test_the_index_of_every_owner_is_trimmed(house: House) -> None:
    jobs = [house.finished(days=8, owner=owner, file=False) for owner in ("ada", "bob", "eve") for _ in range(3)]
    kept = house.finished(days=8, owner="bob")
    house.redis.delete(*(Key.JOB + job.id for job in jobs))
    done, own = house.clean("orphans")
    assert done.orphans == Removed(count=9)
    assert [house.listed(owner) for owner in ("ada", "bob", "eve")] == [set(), {kept.id}, set()]
    assert house.listed() == {kept.id, own}


def test_an_index_longer_than_one_stretch(house: House) -> None:
    """The script looks at 250 entries a step; what it removes must not make it skip others."""
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


@pytest.mark.slow
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
    size = sum(sum(house.book.run_all(commands.sizes(job.id))) for job in old)
    done, own = house.clean()
    assert done.files == Removed(count=2, bytes=2000)
    assert done.records == Removed(count=2, bytes=size)
    assert done.orphans == Removed(count=1, bytes=44)
    assert house.keys() == set()
    assert house.listed() == {own}
