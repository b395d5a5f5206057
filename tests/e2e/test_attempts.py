"""The core of an attempt in real workers of both pools: what it refuses, and that it tells nothing of an input."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.attempt import UNKNOWN_FOR
from tandem.shared.jobs.model import Job, Status
from tandem.shared.jobs.retry import UNFORESEEN
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import AnySpec
from tests.support.jobs import PLENTY, TTL, age_unknown, claim, expire_lease
from tests.support.processes import ROOT, Process, until
from tests.support.tasks.specs import ASYNC_TELLING, SYNC_TELLING, TellingInput
from tests.support.tasks.telling import RAISES, RETURNS
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
SECRET = "secret-canary-4711"
SPECS: dict[str, AnySpec] = {"llm": ASYNC_TELLING, "sync": SYNC_TELLING}
both = pytest.mark.parametrize("queue", SPECS)


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


def start(workers: Pool, queue: str, **env: str) -> Process:
    return workers.start(sys.executable, "-m", f"tandem.{queue}_worker", **env)


def start_clock(workers: Pool) -> None:
    """What is put back for a while in the forking pool waits for the clock."""
    workers.start(sys.executable, "-m", "tandem.shared.maintenance")


def put(book: Book, queue: str, how: str, stored: Mapping[str, Any] | None = None) -> str:
    """Submit a job; `stored` replaces parts of its input afterwards, as no gateway would let it."""
    payload = TellingInput(how=how, secret=SECRET)
    job = submission(SPECS[queue], payload, owner="ann", request_id="r", options=Options())
    assert isinstance(book.run(store_job(job, PLENTY)), Stored)
    if stored:
        book.client.hset(f"tandem:job:{job.id}", "payload", json.dumps(payload.model_dump() | dict(stored)))
    return job.id


def told(book: Book, job: Job) -> str:
    """All that the record and the events say, but for the input."""
    client: Any = book.client
    record = client.hgetall(f"tandem:job:{job.id}")
    record.pop(b"payload", None)
    return f"{record} {client.xrange(f'tandem:events:{job.id}')}"


INVALID: dict[str, dict[str, Any]] = {
    "a literal": {"colour": SECRET},
    "a key of a mapping": {"by_name": {SECRET: "x"}},
    "a value of a mapping": {"by_name": {"x": SECRET}},
    "a validator's own words": {"how": SECRET},
    "a value of an unknown field": {"shade": SECRET},
    "a name that no field has": {f"{SECRET} ": 1},
}


@both
def test_nothing_that_a_handler_is_given_is_in_errors_logs_or_events(workers: Pool, queue: str) -> None:
    book = workers.book
    raising = {how: put(book, queue, how) for how in RAISES}
    returning = {how: put(book, queue, how) for how in RETURNS}
    invalid = {what: put(book, queue, "nothing", stored) for what, stored in INVALID.items()}
    aside = put(book, queue, "forget a task" if queue == "llm" else "forget a thread")
    worker = start(workers, queue, TANDEM_LOG_LEVEL="debug")
    jobs = {job.id: job for job in workers.finished([*raising.values(), *returning.values(), *invalid.values(), aside])}
    for how, job_id in raising.items():
        assert jobs[job_id].error == {"type": RAISES[how][1], "message": UNFORESEEN, "retryable": True}
    assert {(jobs[id_].error or {})["type"] for id_ in returning.values()} == {"invalid_result"}
    assert {(jobs[id_].error or {})["type"] for id_ in invalid.values()} == {"invalid_input"}
    assert (jobs[invalid["a value of an unknown field"]].error or {})["message"].startswith("shade: Extra inputs")
    assert jobs[aside].status is Status.SUCCEEDED
    worker.until_says("Task exception was never retrieved" if queue == "llm" else "a thread broke")
    assert not [job_id for job_id, job in jobs.items() if SECRET in told(book, job)]
    assert worker.stop() == 0
    assert SECRET not in worker.output
    for line in ("return int(secret)", "return NOTHING[secret]", "raise RuntimeError(f"):
        assert line in worker.output, "the log has the traceback"


@both
def test_a_wrong_result_is_not_tried_again(workers: Pool, queue: str) -> None:
    ids = []
    for how in ("nothing", "text"):
        ids.append(put(workers.book, queue, how))
        workers.book.client.hset(f"tandem:job:{ids[-1]}", "max_attempts", "5")
    start(workers, queue)
    assert {(job.status, job.attempt, len(job.attempts)) for job in workers.finished(ids)} == {(Status.FAILED, 1, 1)}


@both
def test_a_task_that_only_newer_workers_know_waits_for_one(workers: Pool, queue: str) -> None:
    job_id = put(workers.book, queue, "forget a task" if queue == "llm" else "forget a thread")
    old = start(workers, queue, PYTHONPATH=str(ROOT))
    old.until_says("does not know its task")
    until(lambda: workers.job(job_id).status is Status.SCHEDULED, what="it being put back")
    job = workers.job(job_id)
    assert (job.attempt, job.attempts, job.error) == (0, [], None)
    start(workers, queue)
    start_clock(workers)
    [job] = workers.finished([job_id])
    assert (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, [])
    assert workers.book.client.hmget(f"tandem:job:{job_id}", ["crashes", "losses"]) == [None, None]
    assert old.popen.poll() is None


@both
def test_a_task_that_no_worker_knows_for_five_minutes_is_given_up(workers: Pool, queue: str) -> None:
    job_id = put(workers.book, queue, "nothing")
    old = start(workers, queue, PYTHONPATH=str(ROOT))
    old.until_says("does not know its task, put back for 2.0 s")
    age_unknown(workers.book, job_id, UNKNOWN_FOR)
    start_clock(workers)
    [job] = workers.finished([job_id])
    assert (job.error or {})["type"] == "unknown_task"
    assert (job.attempt, [entry["type"] for entry in job.attempts]) == (1, ["unknown_task"])
    assert not workers.book.client.exists(f"tandem:unknown:{job_id}"), "whoever retries it starts anew"


def test_a_suspect_of_an_unknown_task_is_handed_back_too(workers: Pool) -> None:
    job_id = put(workers.book, "llm", "nothing")
    for _ in range(2):
        [lease] = claim(workers.book)
        expire_lease(workers.book, lease)
    # Given back at once: to a worker that takes long to start, nobody having called looks like an outage of Redis.
    workers.book.run(leases.claim_llm(worker="w", limit=0, ttl=TTL))
    old = start(workers, "llm", PYTHONPATH=str(ROOT))
    old.until_says("does not know its task, put back for 2.0 s")
    # Looked at once: two seconds later it is claimed again.
    seen = until(lambda: [job for job in [workers.job(job_id)] if job.status is Status.SCHEDULED], what="it put back")
    assert [(job.attempt, len(job.attempts)) for job in seen] == [(2, 2)]
    age_unknown(workers.book, job_id, UNKNOWN_FOR + timedelta(seconds=1))
    [job] = workers.finished([job_id])
    assert (job.error or {})["type"] == "unknown_task"
    assert "its process ended" not in old.output
