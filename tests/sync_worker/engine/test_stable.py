"""The horse that waits: it is there before its job, runs one, and what befalls it before that costs no attempt."""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine.horses import stable
from tandem.sync_worker.engine.horses.horse import Horse
from tandem.sync_worker.engine.horses.listening import listen
from tandem.sync_worker.engine.horses.stable import Stable
from tests.support.jobs import claim_one, put
from tests.support.processes import Process, until
from tests.support.tasks import dying_horses
from tests.support.workers.rq import FUNCTIONS, Pool, pool, worker_of

MEMORY = 2**30


def horses(worker: Process) -> list[int]:
    """A worker's processes, the oldest first; not what jobs left behind."""
    return [child.pid for child in worker_of(worker).children() if _leads(child.pid)]


def _leads(pid: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == pid
    return False


def waiting(worker: Process, *, ran: Collection[int] = ()) -> int:
    """The one that waits while its worker is idle; those that `ran` a job may be about to end."""

    def one() -> list[int] | None:
        found = horses(worker)
        return found if len(found) == 1 and found[0] not in ran else None

    [pid] = until(one, what="one process that waits") or [0]
    return pid


def ran(toys: Pool, seconds: float = 0.0) -> int:
    """Run a job; gives its process."""
    before = set(toys.marks("ran"))
    assert toys.ended(toys.enqueue("slow", seconds, str(toys.folder))).status is Status.SUCCEEDED
    [pid] = set(toys.marks("ran")) - before
    return pid


def unharmed(toys: Pool, job_id: str) -> None:
    """See a job succeed in its first attempt."""
    job = toys.ended(job_id)
    assert (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, [])


# --- one process a job, and it is there before its job


@pytest.mark.slow
def test_a_jobs_process_was_there_before_it_and_runs_no_other(toys: Pool, worker: Process) -> None:
    known = waiting(worker)
    pids = []
    for _ in range(3):
        pids.append(ran(toys))
        assert pids[-1] == known
        known = waiting(worker, ran=pids)
    assert len({*pids, known}) == 4
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.slow
def test_the_next_process_is_forked_while_a_job_runs(toys: Pool, worker: Process) -> None:
    first = toys.enqueue("slow", 2, str(toys.folder))
    [running] = until(lambda: toys.marks("ran"), what="the run") or []
    later = until(lambda: [pid for pid in horses(worker) if pid != running], what="the next one's process") or []
    assert toys.job(first).status is Status.RUNNING  # type: ignore[union-attr]
    second = toys.enqueue("slow", 0, str(toys.folder))
    unharmed(toys, first)
    unharmed(toys, second)
    assert set(toys.marks("ran")) == {running, *later}


# --- what befalls it costs no attempt


@pytest.mark.slow
def test_one_that_is_killed_while_it_waits_costs_no_attempt(toys: Pool, worker: Process) -> None:
    dead = waiting(worker)
    os.kill(dead, signal.SIGKILL)
    unharmed(toys, toys.enqueue("slow", 0, str(toys.folder)))
    assert dead not in toys.marks("ran")
    worker.until_says("the process that waited for a job was killed by SIGKILL")


@pytest.mark.slow
def test_one_that_dies_with_its_lease_before_it_begins_costs_no_attempt(toys: Pool, worker: Process) -> None:
    dead = waiting(worker)
    os.kill(dead, signal.SIGSTOP)
    job_id = toys.enqueue("slow", 0, str(toys.folder))
    until(lambda: (job := toys.job(job_id)) and job.status is Status.RUNNING, what="the claim")
    os.kill(dead, signal.SIGKILL)
    unharmed(toys, job_id)
    assert dead not in toys.marks("ran")


@pytest.mark.slow
def test_where_none_lives_a_job_is_not_tried_for_ever(valkey: str, tmp_path: Path) -> None:
    imports = f"{FUNCTIONS},{dying_horses.__name__}"
    with pool(valkey, tmp_path, TANDEM_RQ_IMPORTS=imports) as toys:
        worker = toys.start("default")
        worker.until_says("ready")
        horse = waiting(worker)
        deadly = tmp_path / dying_horses.FILE
        deadly.touch()
        os.kill(horse, signal.SIGKILL)
        job_id = toys.enqueue("slow", 0, str(tmp_path))
        job = until(lambda: (job := toys.job(job_id)) and job.attempts and job, what="a failed attempt")
        assert job
        assert [entry["type"] for entry in job.attempts] == ["worker_crash"]
        deadly.unlink()
        unharmed(toys, toys.enqueue("slow", 0, str(tmp_path)))
        assert worker.stop() == 0


@pytest.mark.slow
def test_it_does_not_end_with_what_anothers_job_leaves_behind(toys: Pool, worker: Process) -> None:
    job_id = toys.enqueue("leave_behind_and_stay", str(toys.folder), job_timeout=3)
    left = until(lambda: len(found := toys.marks("left")) == 2 and found, what="what it leaves behind") or []
    [_, horse] = until(lambda: len(found := horses(worker)) == 2 and found, what="the one that waits") or [0, 0]
    assert toys.ended(job_id).status is Status.FAILED
    assert waiting(worker) == horse
    assert not any(map(psutil.pid_exists, left))
    assert ran(toys) == horse


# --- its end


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("end", ["SIGTERM", "kill the worker", "kill the supervisor"])
def test_it_ends_with_its_worker(worker: Process, end: str) -> None:
    horse = psutil.Process(waiting(worker))
    if end == "SIGTERM":
        assert worker.stop() == 0
    else:
        (worker_of(worker) if end == "kill the worker" else psutil.Process(worker.popen.pid)).kill()
        assert worker.popen.wait(60) == -signal.SIGKILL
    until(lambda: not horse.is_running(), what="its end")


# --- one stable, in this process


@pytest.fixture
def lease(book: Book) -> Lease:
    put(book, "report")
    return claim_one(book, "sync")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Stable]:
    """Its horses write down what they got."""
    box = Stable(partial(live, tmp_path), memory=MEMORY)
    yield box
    box.close()


def live(folder: Path, lease: Lease, place: int) -> None:
    (folder / "got").write_text(ascii((lease, place)))


def ended(horse: Horse) -> bool:
    listen([horse], 0.1)
    if horse.ended:
        horse.kill()
    return horse.ended


def test_a_lease_arrives_as_it_was(box: Stable, lease: Lease, tmp_path: Path) -> None:
    """Also one that no socket holds at once, and with texts that are no UTF-8."""
    long = replace(lease, payload="{\n" + "é\U0001f389\x00\ud800" * 2**20, delay=1.5, suspect=True)
    horse = box.take()
    horse.begin(long, 7)
    assert not horse.begun
    until(lambda: ended(horse), what="its end")
    assert (horse.begun, horse.written, horse.exit) == (True, True, "exited with 0")
    assert (tmp_path / "got").read_text() == ascii((long, 7))


def test_an_old_one_is_replaced(box: Stable, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    box.keep()
    monkeypatch.setattr(stable, "STALE", timedelta(hours=1))
    box.keep()
    [old] = box.pids
    monkeypatch.setattr(stable, "STALE", timedelta(0))
    box.keep()
    [new] = box.pids
    assert new != old
    assert not psutil.pid_exists(old)
    horse = box.take()
    assert horse.pid == new
    horse.begin(lease, 0)
    until(lambda: ended(horse), what="its end")
    assert horse.exit == "exited with 0"


def test_no_signal_ends_one_that_was_just_forked(box: Stable, lease: Lease) -> None:
    """Who stops a service tells all its processes, whatever they are doing."""
    for _ in range(10):
        horse = box.take()
        os.kill(horse.pid, signal.SIGTERM)
        horse.begin(lease, 0)
        until(lambda: ended(horse), what="its end")  # noqa: B023 - waited for at once
        assert (horse.begun, horse.exit) == (True, "exited with 0")
