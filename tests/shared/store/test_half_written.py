"""Keys that another program has spoilt: a script does all that it has to do, or nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, HandBack, RetryIn
from tandem.shared.store import commands, leases, listing, queues
from tandem.shared.store.events import append
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tests.support.jobs import FAILURE, NOTHING, TASKS, TTL, both, claim, expire_lease, fail, put, succeed, tick
from tests.support.keyspace.problems import problems

HUGE = "9" * 400
NUMBERS = (
    "attempt",
    "created_at",
    "started_at",
    "ready_at",
    "crashes",
    "losses",
    "throttled",
    "seq",
    "ends",
    "finished_at",
)
FIELDS = [(name, value) for name in NUMBERS for value in ("x", HUGE, "-5")]
FIELDS += [(name, value) for name in ("error", "deliveries") for value in ("[1", "7", "{}")]
FIELDS += [("usage_input", "x"), ("status", "x")]
KEYS = ("tandem:events:", "tandem:payload:", "{engine}:job:", "arq:in-progress:", "tandem:unknown:")
RECORD = "tandem:job:"

Spoil = Callable[[Any, str], None]


def field(name: str, value: str) -> Spoil:
    return lambda client, job_id: client.hset(f"tandem:job:{job_id}", name, value)


def kind(prefix: str) -> Spoil:
    def spoil(client: Any, job_id: str) -> None:
        key = prefix.format(engine="arq" if client.hget(f"tandem:job:{job_id}", "queue") == b"llm" else "rq") + job_id
        client.delete(key)
        client.zadd(key, {"no": 1})

    return spoil


SPOILT = {f"{name}={value[:3]}": field(name, value) for name, value in FIELDS} | {
    prefix: kind(prefix) for prefix in KEYS
}


def waiting(book: Book, queue: str) -> tuple[str, Lease | None]:
    job_id = put(book, TASKS[queue])
    book.client.hset(f"tandem:job:{job_id}", "webhook", "http://a.example/")
    return job_id, None


def running(book: Book, queue: str) -> tuple[str, Lease | None]:
    waiting(book, queue)
    [lease] = claim(book, queue)
    return lease.id, lease


def native(book: Book, queue: str) -> tuple[str, Lease | None]:
    job_id, lease = running(book, queue)
    book.client.hset(f"tandem:job:{job_id}", "native", "arq" if queue == "llm" else "rq")
    return job_id, lease


def abandoned(book: Book, queue: str) -> tuple[str, Lease | None]:
    job_id, lease = running(book, queue)
    assert lease
    expire_lease(book, lease)
    return job_id, lease


def failed(book: Book, queue: str) -> tuple[str, Lease | None]:
    job_id, lease = running(book, queue)
    assert lease
    fail(book, lease)
    return job_id, None


def cancelled(book: Book, queue: str) -> tuple[str, Lease | None]:
    job_id, lease = running(book, queue)
    book.run(commands.cancel(job_id, ttl=TTL))
    return job_id, lease


STATES = [waiting, running, native, abandoned, failed, cancelled]


def deeds(book: Book, queue: str, job_id: str, lease: Lease | None) -> dict[str, Callable[[], object]]:
    """What anybody may do: with the job, and beside it."""
    run = book.run
    anybody: dict[str, Callable[[], object]] = {
        "cancel": lambda: run(commands.cancel(job_id, ttl=TTL)),
        "retry": lambda: run(commands.retry(job_id)),
        "erase": lambda: run(commands.erase(job_id)),
        "claim": lambda: claim(book, queue),
        "tick": lambda: tick(book),
        "list": lambda: run(listing.page(listing.Filter(), limit=10)),
        "list failed": lambda: run(listing.page(listing.Filter(status="failed"), limit=10)),
        "look": lambda: run(queues.look(queues.QueueName(queue))),
    }
    if lease is None:
        return anybody
    ends = {"retry later": RetryIn(NOTHING, FAILURE), "fail": Fail(FAILURE), "hand back": HandBack(NOTHING)}
    holder: dict[str, Callable[[], object]] = {
        "succeed": lambda: succeed(book, lease),
        "crash": lambda: run(leases.crash(lease, ttl=TTL, delay=NOTHING)),
        "renew": lambda: run(leases.renew(queue, [lease], worker="w")),
        "append": lambda: run(append(lease, [(Kind.PROGRESS, {"done": 1})])),
    }
    for name, end in ends.items():
        holder[name] = lambda end=end: run(leases.give_up(lease, end, usage=Usage(1, 1, 1), ttl=TTL))  # type: ignore[misc]
    return anybody | holder


@both
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_job_stops_no_script_half_way(
    book: Book, queue: str, state: Callable[[Book, str], tuple[str, Lease | None]], spoilt: str
) -> None:
    names = list(deeds(book, queue, "", running(book, queue)[1]))
    for name in names:
        book.client.flushall()
        job_id, lease = state(book, queue)
        SPOILT[spoilt](book.client, job_id)
        before = _problems(book, spoilt)
        if deed := deeds(book, queue, job_id, lease).get(name):
            deed()
            assert _problems(book, spoilt) <= before, name


def _problems(book: Book, spoilt: str) -> set[str]:
    """What is wrong in the key space; of a key that is no record its check can say nothing."""
    return set() if spoilt == RECORD else set(problems(book.client))
