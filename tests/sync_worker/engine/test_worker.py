"""A sync worker as a process: its options, its end, and what no job and no record can do to it."""

import json
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tandem.shared.jobs.attempt import UNKNOWN_FOR
from tandem.shared.jobs.model import Status
from tandem.shared.store import commands
from tests.support.jobs import age_unknown, put
from tests.support.processes import Process, until
from tests.support.servers.valkey import Valkey
from tests.support.workers.rq import FUNCTIONS, Pool, pool, worker_of

pytestmark = pytest.mark.slow

TTL = timedelta(days=1)


# --- its options and its exit code


def test_burst_max_jobs_and_name(toys: Pool) -> None:
    ids = [toys.enqueue("add", number) for number in range(3)]
    assert toys.start("--max-jobs", "1", "--name", "first", "default").popen.wait(60) == 0
    assert [job and job.status for job in map(toys.job, ids)].count(Status.SUCCEEDED) == 1
    assert "first" in (toys.folder / "worker.log").read_text()
    assert toys.start("--burst", "default").popen.wait(60) == 0
    assert [toys.ended(job_id).result for job_id in ids] == [1, 2, 3]


@pytest.mark.parametrize("option", [(), ("--burst",), ("--max-jobs", "9")])
def test_an_error_that_nobody_foresaw_is_no_success(toys: Pool, option: tuple[str, ...]) -> None:
    toys.enqueue("slow", 2, str(toys.folder))
    process = toys.start(*option, "default")
    until(lambda: toys.marks("ran"), what="the run")
    worker_of(process).rlimit(psutil.RLIMIT_NOFILE, (3, 3))  # the next horse gets no pipe
    toys.enqueue("add", 1)
    assert process.popen.wait(60) == 1
    assert "Error: " in process.output


def test_a_killed_workers_name_is_free_at_once(toys: Pool, worker: Process) -> None:
    toys.ended(toys.enqueue("add", 1))
    worker.stop(signal.SIGKILL)
    second = toys.start("--name", "w1", "default")
    assert toys.ended(toys.enqueue("add", 2)).result == 3
    assert second.stop(signal.SIGTERM) == 0


def test_a_signal_ends_it_with_code_0(worker: Process) -> None:
    assert worker.stop(signal.SIGTERM) == 0


def test_what_it_does_is_shown_to_tools_of_rq(toys: Pool, worker: Process) -> None:
    """Not job by job: with its heartbeat."""

    def is_shown(state: bytes) -> bool:
        return bool(cast("Any", toys.book.client).hget("rq:worker:w1", "state") == state)

    until(lambda: is_shown(b"idle"), what="an idle worker")
    job_id = toys.enqueue("slow", 4, str(toys.folder))
    until(lambda: is_shown(b"busy"), what="a busy worker")
    until(lambda: is_shown(b"idle"), what="an idle worker again")
    assert toys.ended(job_id).status is Status.SUCCEEDED
    assert worker.popen.poll() is None


# --- what must not end it


def test_no_record_ends_a_worker(toys: Pool, worker: Process) -> None:
    before = worker_of(worker).pid
    connection: Any = toys.book.client
    deep: list[Any] = []
    for _ in range(220):
        deep = [deep]
    for name, arguments in {"surrogate": ["\ud800"], "deep": [deep], "nan": [float("nan")]}.items():
        connection.hset(f"rq:job:{name}", "data", json.dumps([f"{FUNCTIONS}.add", None, arguments, {}]))
    good = json.dumps([f"{FUNCTIONS}.add", None, [1], {}])
    fields = {"timeout": "inf", "retries_left": "9" * 40, "retry_intervals": "[1e300]"}
    for name, value in fields.items():
        connection.hset(f"rq:job:{name}", mapping={"data": good, name: value})
    connection.hset("rq:job:nested", mapping={"data": good, "retries_left": "1", "retry_intervals": "[" * 100_000})
    connection.set("rq:job:no-hash", "x")
    bad = ["surrogate", "deep", "nan", "nested", *fields]
    connection.rpush("rq:queue:default", "no-hash", "gone", b"\xff", *bad)
    assert toys.ended(toys.enqueue("add", 1)).result == 2
    assert {connection.hget(f"rq:job:{name}", "status") for name in bad} == {b"failed"}
    assert worker_of(worker).pid == before


def test_a_task_that_only_newer_workers_know_waits_for_one(toys: Pool, request: pytest.FixtureRequest) -> None:
    job_id = put(toys.book, "report")
    toys.book.client.hset(f"tandem:job:{job_id}", "task", "novel")
    worker = request.getfixturevalue("worker")
    before = worker_of(worker).pid
    until(lambda: (job := toys.job(job_id)) and job.status is Status.SCHEDULED)
    job = toys.job(job_id)
    assert job
    assert (job.attempt, job.attempts) == (0, [])
    assert job.run_at
    assert job.run_at - job.created_at > timedelta(seconds=1)
    age_unknown(toys.book, job_id, UNKNOWN_FOR)
    connection: Any = toys.book.client
    connection.zrem("rq:scheduled:sync", job_id)
    connection.rpush("rq:queue:sync", job_id)  # as an older version's clock did
    job = toys.ended(job_id)
    assert (job.error or {})["type"] == "unknown_task"
    assert (job.attempt, job.attempts[0]["type"], job.error["retryable"]) == (1, "unknown_task", False)  # type: ignore[index]
    assert worker_of(worker).pid == before


def test_redis_may_go_and_come_back_while_a_job_runs(own_valkey: Valkey, tmp_path: Path) -> None:
    """And stay away beyond the job's time limit, which is for the work."""
    limit = 3
    with pool(own_valkey.url, tmp_path) as toys:
        worker = toys.start("default")
        job_id = toys.enqueue("slow", 1, str(tmp_path), job_timeout=limit)
        until(lambda: toys.marks("ran"), what="the run")
        began = time.monotonic()
        own_valkey.kill()
        worker.until_says("finish waits for Redis")
        until(lambda: time.monotonic() > began + limit + 1, what="the end of its time limit")
        own_valkey.start()
        job = toys.ended(job_id)
        assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 1, 1)
        assert len(toys.marks("ran")) == 1
        assert worker.popen.poll() is None
        worker.stop(signal.SIGTERM)


def test_what_redis_does_not_take_at_first_is_handed_back(own_valkey: Valkey, tmp_path: Path) -> None:
    """It takes no writes when the grace of a worker is over: the hand-back is tried again."""
    with pool(own_valkey.url, tmp_path, TANDEM_GRACE="1") as toys:
        worker = toys.start("default")
        job_id = toys.enqueue("slow", 60, str(tmp_path))
        until(lambda: toys.marks("ran"), what="the run")
        server = cast("Any", toys.book.client)
        server.config_set("min-replicas-to-write", "1")
        worker.popen.send_signal(signal.SIGTERM)
        worker.until_says("handing back")
        worker.until_says("waits for Redis")
        server.config_set("min-replicas-to-write", "0")
        assert worker.popen.wait(30) == 0
        job = toys.job(job_id)
        assert job
        assert (job.status, job.attempt, job.attempts) == (Status.QUEUED, 0, [])


def test_a_job_is_handed_back_also_while_redis_s_memory_is_full(own_valkey: Valkey, tmp_path: Path) -> None:
    with pool(own_valkey.url, tmp_path, TANDEM_GRACE="1") as toys:
        worker = toys.start("default")
        job_id = toys.enqueue("slow", 60, str(tmp_path))
        until(lambda: toys.marks("ran"), what="the run")
        cast("Any", toys.book.client).config_set("maxmemory", "1mb")
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.popen.wait(30) == 0
        job = toys.job(job_id)
        assert job
        assert (job.status, job.attempt, job.attempts) == (Status.QUEUED, 0, [])


def test_many_jobs_leave_no_process_and_no_open_file(toys: Pool, worker: Process) -> None:
    toys.ended(toys.enqueue("add", 1))
    process = worker_of(worker)
    redis = cast("Any", toys.book.client)
    until(lambda: [one for one in redis.client_list() if one["cmd"] == "blpop"], what="the worker waiting for more")
    before = process.num_fds()
    ids = [toys.enqueue("add", number) for number in range(150)]
    assert toys.ended(ids[-1]).status is Status.SUCCEEDED
    until(
        lambda: len(process.children()) == 1 and process.num_fds() <= before,
        what="no process but the one that waits for a job, and no open file",
    )
    assert psutil.Process(worker.popen.pid).children() == [process]


# --- its end


def test_who_stops_all_processes_of_a_service_stops_no_job(toys: Pool, worker: Process) -> None:
    """As systemd does, and a terminal's Ctrl-C."""
    job_id = toys.enqueue("slow", 1, str(toys.folder))
    until(lambda: toys.marks("ran"), what="the run")
    process = psutil.Process(worker.popen.pid)
    for one in [*process.children(recursive=True)[::-1], process]:
        one.send_signal(signal.SIGTERM)
    assert worker.popen.wait(60) == 0
    job = toys.ended(job_id)
    assert (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, [])


@pytest.mark.parametrize("who", ["supervisor", "worker"])
def test_nothing_that_a_job_started_outlives_a_killed_worker(toys: Pool, worker: Process, who: str) -> None:
    toys.enqueue("leave_behind_and_stay", str(toys.folder))
    left = until(lambda: len(found := toys.marks("left")) == 2 and found, what="what it leaves behind")
    supervisor = psutil.Process(worker.popen.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    (supervisor if who == "supervisor" else worker_of(worker)).kill()
    assert worker.popen.wait(60) == -signal.SIGKILL
    until(lambda: not any(map(psutil.pid_exists, left or [])), what="the end of what it left behind")
    until(lambda: not any(one.is_running() for one in family[1:]), what="the end of the worker")


def test_cancel_ends_a_running_job_and_no_sibling(toys: Pool, worker: Process) -> None:
    sibling = toys.start("default")
    until(lambda: worker.output.count('"ready"') == 2, what="both ready")  # before that a signal just ends it
    ids = [toys.enqueue("slow", 3, str(toys.folder)) for _ in range(2)]
    ran = until(lambda: len(found := toys.marks("ran")) == 2 and found, what="two runs")
    toys.book.run(commands.cancel(ids[0], ttl=TTL))
    until(lambda: sum(map(psutil.pid_exists, ran or [])) == 1, what="the end of one")
    assert [toys.ended(job_id).status for job_id in ids] == [Status.CANCELLED, Status.SUCCEEDED]
    assert worker.popen.poll() is None
    worker.until_says(f"{ids[0]} is not ours any more")  # both write into one file
    assert (worker.stop(), sibling.stop()) == (0, 0), "and have said all"
    assert "lease was lost" not in worker.output, "a cancel is no fault"


def test_a_job_that_can_not_be_read_fails_alone(toys: Pool) -> None:
    job_id, neighbour = put(toys.book, "email"), toys.enqueue("add", 1)
    client: Any = toys.book.client
    client.hset(f"tandem:job:{job_id}", "payload", b"\xff")
    toys.start("default")
    assert (toys.ended(job_id).error or {})["type"] == "unreadable_record"
    assert toys.ended(neighbour).result == 2


def test_a_lease_that_was_lost_is_a_warning_and_ends_the_run(toys: Pool, worker: Process) -> None:
    job_id = toys.enqueue("slow", 30, str(toys.folder))
    ran = until(lambda: toys.marks("ran"), what="the run")
    toys.book.client.hset(f"tandem:job:{job_id}", "token", "999999")  # another run has begun
    worker.until_says(f"{job_id}: the lease was lost")
    assert not any(map(psutil.pid_exists, ran or []))
