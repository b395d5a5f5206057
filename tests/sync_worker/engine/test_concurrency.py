"""Several jobs of one worker at once: each in a process of its own, and what befalls one is no other's business."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import psutil
import pytest

from tandem.shared.jobs.model import Job, Status
from tandem.shared.store import commands, scripts
from tests.support.processes import Process, until
from tests.support.workers.rq import Pool, pool, worker_of

pytestmark = pytest.mark.slow

AT_ONCE = 3
TTL = timedelta(days=1)
BEYOND_A_LEASE = scripts.LEASE.total_seconds() + 2
LONG = 60  # seconds of a job that does not end by itself in time


@pytest.fixture
def toys(valkey: str, tmp_path: Path) -> Iterator[Pool]:
    settings = {"TANDEM_SYNC_CONCURRENCY": str(AT_ONCE), "TANDEM_GRACE": "1", "TANDEM_SYNC_MEMORY": "256MiB"}
    with pool(valkey, tmp_path, **settings) as made:
        yield made


@pytest.fixture
def clock(toys: Pool) -> Iterator[Process]:
    process = Process([sys.executable, "-m", "tandem.shared.maintenance"], env=toys.env, log=toys.folder / "clock.log")
    process.until_says("ready")
    yield process
    process.stop()


def begin(toys: Pool, number: int, seconds: float) -> dict[str, int]:
    """Have so many jobs run; gives the process of each."""
    return dict(begin_one(toys, seconds) for _ in range(number))


def begin_one(toys: Pool, seconds: float, **options: Any) -> tuple[str, int]:
    before = set(toys.marks("ran"))
    job_id = toys.enqueue("slow", seconds, str(toys.folder), **options)
    [pid] = until(lambda: set(toys.marks("ran")) - before, what="the run") or [0]
    return job_id, pid


def unharmed(job: Job) -> bool:
    return (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, [])


def crashed(toys: Pool, job_id: str) -> Job:
    """See one attempt end with its process."""
    until(lambda: now(toys, job_id).attempts, what="a failed attempt")
    job = now(toys, job_id)
    assert [entry["type"] for entry in job.attempts] == ["worker_crash"]
    return job


def now(toys: Pool, job_id: str) -> Job:
    job = toys.job(job_id)
    assert job
    return job


def test_so_many_run_at_once_and_the_next_one_waits_for_room(toys: Pool, worker: Process) -> None:
    jobs = begin(toys, AT_ONCE, 4)
    more = toys.enqueue("slow", 0, str(toys.folder))
    assert len({os.getpgid(pid) for pid in jobs.values()}) == AT_ONCE
    ended = toys.ended(more)
    first = toys.ended(next(iter(jobs)))
    assert ended.started_at
    assert first.finished_at
    assert ended.started_at >= first.finished_at
    assert all(unharmed(toys.ended(job_id)) for job_id in [*jobs, more])
    assert len({*toys.marks("ran")}) == AT_ONCE + 1
    until(lambda: len(worker_of(worker).children()) == 1, what="the process that waits, alone")


@pytest.mark.usefixtures("clock", "worker")
def test_all_leases_are_renewed(toys: Pool) -> None:
    jobs = [toys.enqueue("slow", BEYOND_A_LEASE, str(toys.folder)) for _ in range(AT_ONCE)]
    assert all(unharmed(toys.ended(job_id)) for job_id in jobs)
    assert len(toys.marks("ran")) == AT_ONCE


# --- what befalls one


@pytest.mark.usefixtures("worker")
def test_a_cancel_ends_one(toys: Pool) -> None:
    (first, pid), *others = begin(toys, AT_ONCE, 5).items()
    toys.book.run(commands.cancel(first, ttl=TTL))
    until(lambda: not psutil.pid_exists(pid), what="its end")
    assert now(toys, first).status is Status.CANCELLED
    assert all(psutil.pid_exists(other) for _, other in others)
    assert all(unharmed(toys.ended(job_id)) for job_id, _ in others)


@pytest.mark.usefixtures("worker")
def test_a_process_that_is_killed_is_one_crash(toys: Pool) -> None:
    (first, pid), *others = begin(toys, AT_ONCE, 4).items()
    os.kill(pid, signal.SIGKILL)
    crashed(toys, first)
    assert all(unharmed(toys.ended(job_id)) for job_id, _ in others)


@pytest.mark.usefixtures("worker")
def test_a_process_that_hangs_ends_at_its_own_time_limit(toys: Pool) -> None:
    others = begin(toys, AT_ONCE - 1, 5)
    hangs, pid = begin_one(toys, LONG, job_timeout=2)
    os.kill(pid, signal.SIGSTOP)
    assert (toys.ended(hangs).error or {})["type"] == "timeout"
    assert all(now(toys, job_id).status is Status.RUNNING for job_id in others)
    assert all(unharmed(toys.ended(job_id)) for job_id in others)


@pytest.mark.usefixtures("worker")
def test_memory_is_counted_for_each(toys: Pool) -> None:
    """Together they hold more than one of them may."""
    held = [toys.enqueue("hold", 120, 3) for _ in range(AT_ONCE - 1)]
    greedy = toys.enqueue("hold", 400, LONG)
    assert (toys.ended(greedy).error or {})["type"] == "memory_limit"
    assert all(unharmed(toys.ended(job_id)) for job_id in held)


@pytest.mark.usefixtures("worker")
def test_what_one_left_behind_ends_with_it_and_not_what_another_did(toys: Pool) -> None:
    first = toys.enqueue("leave_behind_and_stay", str(toys.folder), job_timeout=5)
    its = until(lambda: len(found := set(toys.marks("left"))) == 2 and found, what="what the first leaves") or set()
    second = toys.enqueue("leave_behind_and_stay", str(toys.folder), job_timeout=LONG)
    left = until(lambda: len(found := set(toys.marks("left"))) == 4 and found, what="what the other leaves") or set()
    assert toys.ended(first).status is Status.FAILED
    assert not any(map(psutil.pid_exists, its))
    assert all(map(psutil.pid_exists, left - its))
    toys.book.run(commands.cancel(second, ttl=TTL))
    until(lambda: not any(map(psutil.pid_exists, left)), what="its end")


# --- their common end


def test_all_are_handed_back_when_the_grace_time_is_over(toys: Pool, worker: Process) -> None:
    jobs = begin(toys, AT_ONCE, LONG)
    assert worker.stop() == 0
    for job_id in jobs:
        job = now(toys, job_id)
        assert (job.status, job.attempt, job.attempts) == (Status.QUEUED, 0, [])
    assert not any(map(psutil.pid_exists, jobs.values()))


def test_what_ends_within_the_grace_time_is_written(toys: Pool, worker: Process) -> None:
    short = begin(toys, 1, 0.8)
    long = begin(toys, 1, LONG)
    assert worker.stop() == 0
    assert all(unharmed(toys.ended(job_id)) for job_id in short)
    assert [now(toys, job_id).status for job_id in long] == [Status.QUEUED]


def test_a_worker_that_waits_for_its_last_jobs_sleeps(valkey: str, tmp_path: Path) -> None:
    """It has room and was listening for wake-ups, of which it needs none any more."""
    grace = 4
    with pool(valkey, tmp_path, TANDEM_SYNC_CONCURRENCY=str(AT_ONCE), TANDEM_GRACE=str(grace)) as toys:
        process = toys.start("default")
        begin(toys, 1, LONG)
        worker = worker_of(process)
        used = before = cpu_seconds(worker)
        process.popen.send_signal(signal.SIGTERM)
        while process.popen.poll() is None:
            used = max(used, cpu_seconds(worker))
            with suppress(TimeoutExpired):
                process.popen.wait(0.1)
    assert used - before < grace / 4


def cpu_seconds(process: psutil.Process) -> float:
    """What it has used; 0 if it is gone."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


@pytest.mark.usefixtures("clock")
def test_a_killed_worker_takes_all_with_it_and_each_runs_again(toys: Pool, worker: Process) -> None:
    jobs = begin(toys, AT_ONCE, 3)
    worker_of(worker).kill()
    until(lambda: not any(map(psutil.pid_exists, jobs.values())), what="their end")
    toys.start("--name", "w2", "default")
    for job_id in jobs:
        job = toys.ended(job_id)
        assert job.status is Status.SUCCEEDED
        assert [entry["type"] for entry in job.attempts] == ["worker_crash"]


@pytest.mark.usefixtures("clock")
def test_a_suspended_worker_and_all_its_jobs_end_with_their_leases(toys: Pool, worker: Process) -> None:
    jobs = begin(toys, AT_ONCE, LONG)
    worker_of(worker).suspend()
    assert worker.popen.wait(60) == -signal.SIGKILL
    assert not any(map(psutil.pid_exists, jobs.values()))
    for job_id in jobs:
        assert crashed(toys, job_id).status is Status.QUEUED
