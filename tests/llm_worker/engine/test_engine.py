"""The engine with real processes: what a worker's or a handler's end does to the other jobs."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tandem.llm_worker.engine.worker import SUSPECTS
from tandem.shared.jobs.model import Status
from tandem.shared.store import commands, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName
from tests.support.jobs import TTL
from tests.support.processes import until
from tests.support.tasks import SHORT_LEASES
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    """Workers whose leases are short."""
    with pool(book, valkey, tmp_path / "w", SHORT_LEASES) as made:
        yield made


@pytest.fixture
def true_workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    """Workers as they are shipped."""
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


def test_a_hundred_jobs_of_a_killed_worker_start_elsewhere(true_workers: Pool) -> None:
    workers = true_workers
    first, second = workers.start(), workers.start(TANDEM_LLM_CONCURRENCY="200")
    second.popen.send_signal(signal.SIGSTOP)
    ids = [workers.put("wait", seconds=4) for _ in range(100)]
    until(lambda: len(workers.runs()) == 100, what="100 jobs in flight")
    first.stop(signal.SIGKILL)
    second.popen.send_signal(signal.SIGCONT)
    jobs = workers.finished(ids)
    assert {(job.status, job.attempt) for job in jobs} == {(Status.SUCCEEDED, 2)}
    again = [began for began, pid in workers.runs() if pid == second.popen.pid]
    assert len(again) == 100


def test_a_worker_suspended_past_its_lease_writes_nothing(workers: Pool) -> None:
    first = workers.start()
    job_id = workers.put("wait", seconds=0.2)
    until(workers.runs, what="the first run")
    first.popen.send_signal(signal.SIGSTOP)
    second = workers.start()
    [job] = workers.finished([job_id])
    first.popen.send_signal(signal.SIGCONT)
    first.until_says("the lease was lost")
    assert (job.attempt, job.result) == (2, {"done": second.popen.pid})
    assert workers.job(job_id) == job
    assert [pid for _, pid in workers.runs(job_id)] == [first.popen.pid, second.popen.pid]
    assert workers.finished([workers.put()])[0].status is Status.SUCCEEDED


def test_a_job_that_can_not_be_read_fails_alone(workers: Pool) -> None:
    ids = [workers.put() for _ in range(3)]
    client: Any = workers.book.client
    client.hset(f"tandem:job:{ids[1]}", "payload", b"\xff")
    workers.start()
    jobs = workers.finished(ids)
    assert [job.status for job in jobs] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert (jobs[1].error or {})["type"] == "unreadable_record"


def test_a_cancelled_job_is_no_lost_lease(workers: Pool) -> None:
    worker = workers.start()
    job_id = workers.put("wait", seconds=30)
    until(workers.runs, what="the run")
    workers.book.run(commands.cancel(job_id, ttl=TTL))
    worker.until_says("stopped; handed back if it is still ours")
    assert worker.stop() == 0, "and all its jobs have said what they had to say"
    assert worker.output.count(f"{job_id} is not ours any more") == 1
    assert "lease was lost" not in worker.output
    assert "warning" not in worker.output


def test_rolling_restarts_burn_no_attempt(workers: Pool) -> None:
    worker = workers.start(TANDEM_GRACE="0.1")
    ids = [workers.put("wait", seconds=3) for _ in range(20)]
    for restart in range(3):
        until(lambda: len(workers.runs()) == 20 * (restart + 1), what="all in flight")  # noqa: B023 - called here
        assert worker.stop() == 0
        worker = workers.start(TANDEM_GRACE="0.1")
    jobs = workers.finished(ids)
    assert {(job.status, job.attempt, len(job.attempts)) for job in jobs} == {(Status.SUCCEEDED, 1, 0)}


def test_poison_jobs_are_fenced_and_their_neighbours_succeed(workers: Pool) -> None:
    neighbours = [workers.put("wait", seconds=1) for _ in range(2)]
    poison = [workers.put(how, seconds=0.3) for how in ("kill", "segfault")]
    for _ in range(2):
        worker = workers.start()
        assert worker.popen.wait(60) in {-signal.SIGKILL, -signal.SIGSEGV}
    survivor = workers.start()
    for culprit in workers.finished(poison):
        assert (culprit.status, (culprit.error or {})["type"]) == (Status.FAILED, "crash_loop")
        assert [entry["type"] for entry in culprit.attempts] == ["worker_crash"] * 3
        assert len({pid for _, pid in workers.runs(culprit.id)}) == 3
    assert {job.status for job in workers.finished(neighbours)} == {Status.SUCCEEDED}
    assert survivor.popen.poll() is None


def suspects(workers: Pool, number: int, *, seconds: float) -> list[str]:
    """Let jobs be there twice when their worker is killed."""
    ids = [workers.put("wait", seconds=seconds) for _ in range(number)]
    for round_ in (1, 2):
        worker = workers.start()
        until(lambda: len(workers.runs()) == number * round_, what="all in flight")  # noqa: B023 - called here
        worker.stop(signal.SIGKILL)
    return ids


def test_suspects_are_stopped_with_their_worker_and_handed_back(workers: Pool) -> None:
    number, seconds = SUSPECTS + 2, 5  # the last of them begins before the first has ended
    ids = suspects(workers, number, seconds=seconds)
    worker = workers.start(TANDEM_GRACE="0.1")
    until(lambda: len(workers.runs()) == 2 * number + SUSPECTS, what="the runs of suspects")
    assert worker.stop() == 0
    assert {workers.job(job_id).status for job_id in ids} == {Status.QUEUED}
    workers.start()
    jobs = workers.finished(ids)
    assert {(job.status, job.attempt, len(job.attempts)) for job in jobs} == {(Status.SUCCEEDED, 3, 2)}
    isolated = workers.runs()[2 * number :]
    assert len({pid for _, pid in isolated}) == len(isolated) == SUSPECTS + number, "each in a process of its own"
    assert isolated[2 * SUSPECTS][0] - isolated[SUSPECTS][0] >= seconds, "so many at a time"


@pytest.mark.parametrize("lost", [False, True])
def test_an_isolation_server_is_there_before_a_suspect_and_another_follows_if_it_is_lost(
    workers: Pool, *, lost: bool
) -> None:
    [job_id] = suspects(workers, 1, seconds=0.5)
    workers.book.run(queues.pause(QueueName.LLM, paused=True))
    worker = workers.start()
    [server] = psutil.Process(worker.popen.pid).children()
    server.send_signal(signal.SIGTERM)  # as a service manager tells all of a unit; its worker says when it ends
    if lost:
        server.kill()
    workers.book.run(queues.pause(QueueName.LLM, paused=False))
    until(lambda: len(workers.runs()) == 3, what="the suspect's run")
    [now] = psutil.Process(worker.popen.pid).children()
    assert (now == server) is not lost
    assert workers.finished([job_id])[0].status is Status.SUCCEEDED
    assert worker.stop() == 0
    assert not alive(now)


def test_suspects_die_with_their_worker_and_a_lost_isolation_server_convicts_nobody(workers: Pool) -> None:
    ids = suspects(workers, 3, seconds=1.5)
    worker = workers.start()
    until(lambda: len(workers.runs()) == 9, what="the suspects' runs")
    [server] = psutil.Process(worker.popen.pid).children()
    isolated = server.children()
    assert sorted(process.pid for process in isolated) == sorted(pid for _, pid in workers.runs()[6:])
    server.kill()
    until(lambda: not any(map(alive, isolated)), what="the end of the suspects' processes")
    until(lambda: len(workers.runs()) == 12, what="runs in another isolation server")
    [other] = psutil.Process(worker.popen.pid).children()
    isolated = [other, *other.children()]
    worker.stop(signal.SIGKILL)
    until(lambda: not any(map(alive, isolated)), what="the end of all that the worker had started")
    workers.start()
    assert {job.status for job in workers.finished(ids)} == {Status.SUCCEEDED}


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("how", ["exit beside", "exit alone"])
def test_sys_exit_in_a_task_of_a_handler_ends_nothing_else(workers: Pool, how: str) -> None:
    worker = workers.start()
    innocent = workers.put("wait", seconds=0.5)
    workers.put(how)
    assert workers.finished([innocent])[0].attempt == 1
    assert worker.popen.poll() is None


def test_a_blocked_loop_is_named_and_costs_nobody_his_lease(workers: Pool) -> None:
    worker = workers.start()
    innocent = workers.put("wait", seconds=1)
    until(workers.runs, what="the innocent's run")
    job_id = workers.put("block", seconds=4)
    worker.until_says(f"odd {job_id} blocks the event loop")
    assert "time.sleep(seconds)" in worker.output
    workers.start()
    jobs = workers.finished([job_id, innocent])
    assert {(job.status, job.attempt) for job in jobs} == {(Status.SUCCEEDED, 1)}


def test_a_loop_blocked_for_too_long_ends_its_worker(workers: Pool) -> None:
    worker = workers.start(TANDEM_LLM_MAX_BLOCK="2s")
    innocent = workers.put("wait", seconds=6)
    until(workers.runs, what="the innocent's run")
    job_id = workers.put("block", seconds=60)
    assert worker.popen.wait(60) == 1
    job = workers.job(job_id)
    assert (job.attempt, job.attempts[0]["type"]) == (1, "blocked_loop")
    assert (workers.job(innocent).status, workers.job(innocent).attempt) == (Status.QUEUED, 0)


def test_a_worker_retires_after_so_many_jobs_or_megabytes(workers: Pool) -> None:
    worker = workers.start(TANDEM_LLM_MAX_JOBS="3", TANDEM_GRACE="0")
    ids = [workers.put("wait", seconds=1.2), *(workers.put() for _ in range(3))]
    assert worker.popen.wait(60) == 0
    assert "retiring after 3 jobs" in worker.output
    assert {job.status for job in workers.finished(ids)} == {Status.SUCCEEDED}, "it has all the time they need"
    worker = workers.start(TANDEM_LLM_MAX_MEMORY="200MB")
    assert workers.finished([workers.put()])[0].status is Status.SUCCEEDED
    workers.put("leak")
    assert worker.popen.wait(60) == 0
    assert "retiring after " in worker.output


def test_burst_ends_when_nothing_is_left(workers: Pool) -> None:
    ids = [workers.put("wait", seconds=0.2) for _ in range(3)]
    worker = workers.start(sys.executable, "-m", "tandem.llm_worker", "--burst", TANDEM_LLM_CONCURRENCY="2")
    assert worker.popen.wait(60) == 0
    assert {workers.job(job_id).status for job_id in ids} == {Status.SUCCEEDED}
