"""What a cleanup spares, and what remains of lost attempts."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tandem.shared.jobs.model import Artefact, Status, Usage
from tandem.shared.jobs.retry import Fail, Failure
from tandem.shared.store import leases
from tandem.shared.store.keys import Key
from tandem.shared.tasks.catalog.maintenance import Removed
from tests.support.cleanup_house import ALL, TTL, House, key

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
    assert house.book.run(leases.renew("sync", [context.lease], worker="w")) == [], "it keeps its lease"


def test_a_job_that_waits_for_its_next_attempt_is_spared(house: House) -> None:
    context = house.running()
    house.book.run(leases.crash(context.lease, ttl=TTL, delay=timedelta(hours=1)))
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
    house.redis.hset(Key.JOB + job.id, "created_at", 1)
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
    house.book.run(leases.give_up(context.lease, failure, usage=Usage(), ttl=TTL))
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
