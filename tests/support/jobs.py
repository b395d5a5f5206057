"""Jobs in a real job book: submitted, claimed and ended as gateway and workers do it."""

from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Artefact, Job, Usage
from tandem.shared.jobs.retry import Fail, Failure
from tandem.shared.jobs.submission import Admission, Options, Stored
from tandem.shared.store import commands, events, leases, maintenance, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import ARQ_QUEUES, RQ_NAMES, Key
from tandem.shared.store.leases import Lease, Success
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.registry import load

CATALOG = load()
PLENTY = Admission(queue_max=100_000)
ANN = ApiKey("ann", Role.USER, "a-key-0123456789")
TTL = timedelta(days=1)
NOTHING = timedelta(0)
FAILURE = Failure("oops", "it broke", retryable=True)
TASKS = {"llm": "chat", "sync": "email"}
both = pytest.mark.parametrize("queue", ["llm", "sync"])


def put(book: Book, task: str = "chat", owner: str = "ann", *, admission: Admission = PLENTY, **options: Any) -> str:
    """Store a job of the task's example."""
    spec = CATALOG[task]
    payload = spec.input.model_validate(spec.example)
    job = submission(spec, payload, owner=owner, request_id="r", options=Options(**options))
    assert isinstance(book.run(store_job(job, admission)), Stored)
    return job.id


def get(book: Book, job_id: str) -> Job:
    job = book.run(commands.fetch(job_id))
    assert job is not None
    return job


def claim(book: Book, queue: str = "llm") -> list[Lease]:
    call = (
        leases.claim_llm(worker="w", limit=100, ttl=TTL, suspects=1)
        if queue == "llm"
        else leases.claim_sync(worker="w", ttl=TTL)
    )
    return book.run(call).leases


def succeed(book: Book, lease: Lease) -> bool:
    return book.run(leases.succeed(lease, Success('{"a": 1}'), usage=Usage(1, 2, 1), ttl=TTL))


def expire_lease(book: Book, lease: Lease) -> None:
    """What time does to a lease that nobody renews."""
    past = (lease_end(book, lease) or 0) - scripts.LEASE.total_seconds() * 1000
    for name in ARQ_QUEUES.values():
        book.client.zadd(name, {lease.id: past}, xx=True)
    book.client.zadd("tandem:leases:llm", {lease.id: past}, xx=True)
    for name in RQ_NAMES.values():
        book.client.zadd(f"rq:wip:{name}", {f"{lease.id}:{lease.token}": 1}, xx=True)


def age_unknown(book: Book, job_id: str, by: timedelta) -> None:
    """What time does to a job whose task no worker knows."""
    key = f"tandem:unknown:{job_id}"
    left: Any = book.client.pttl(key)
    assert left > 0
    book.client.pexpire(key, left - by // timedelta(milliseconds=1))


def lease_end(book: Book, lease: Lease) -> float | None:
    end = book.client.zscore("tandem:leases:llm", lease.id)
    assert end is None or isinstance(end, float)
    return end


def counts(book: Book, queue: str) -> dict[str, int]:
    raw = book.client.hgetall(f"tandem:queue:{queue}")
    assert isinstance(raw, dict)
    return {key.decode(): int(value) for key, value in raw.items() if int(value)}


def tick(book: Book) -> dict[str, int]:
    """Do one step of the clock's duties."""
    done: dict[str, int] = {}
    for duty, outcome in maintenance.do_all(book, ttl=TTL, looks=50).items():
        if isinstance(outcome, Exception):
            raise outcome
        done[duty] = outcome
    return done


def claim_one(book: Book, queue: str = "llm") -> Lease:
    call = leases.claim_llm(worker="w", limit=1, ttl=TTL) if queue == "llm" else leases.claim_sync(worker="w", ttl=TTL)
    [lease] = book.run(call).leases
    return lease


def finish(book: Book, lease: Lease, result: str | Artefact = '{"text": "hi"}', file: Artefact | None = None) -> None:
    assert book.run(leases.succeed(lease, Success(result, "openai", file), usage=Usage(3, 4, 1), ttl=TTL))


def fail(book: Book, lease: Lease) -> None:
    failure = Fail(Failure("refused", "no", retryable=False))
    assert book.run(leases.give_up(lease, failure, usage=Usage(1, 2, 3), ttl=TTL))


def as_before(book: Book, job_id: str) -> None:
    """Put all of a job's events into its stream, as the version before did, and leave the job to that version."""
    client: Any = book.client
    record, stream = Key.JOB + job_id, Key.EVENTS + job_id
    kept = book.run(events.read(job_id, after=0))
    client.delete(stream)
    client.hdel(record, "events", *(f"e{event.seq}" for event in kept))
    for event in kept:
        client.xadd(stream, {event.kind: event.data}, id=f"{event.seq}-0")
    if (ttl := client.pttl(record)) >= 0:
        client.pexpire(stream, ttl)
