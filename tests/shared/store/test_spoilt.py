"""Values that nobody foresaw, in records and from outside: each hurts its own job and no other."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs.attempt import unreadable
from tandem.shared.jobs.events import Extent
from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.jobs.view import links_of, show
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store import commands, events, leases, scripts
from tandem.shared.store.batching import BatchingBook
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key, LimitKey
from tests.support.jobs import FAILURE, NOTHING, TASKS, TTL, both, claim, counts, expire_lease, get, put, succeed, tick
from tests.support.keyspace.problems import assert_keyspace

SPOILT = {
    "max_attempts": "many",
    "attempt": "x",
    "created_at": "9" * 18,
    "throttled": "",
}


@both
@pytest.mark.parametrize("field", SPOILT)
def test_a_spoilt_record_stops_no_neighbour(book: Book, queue: str, field: str) -> None:
    client: Any = book.client
    ids = [put(book, TASKS[queue]) for _ in range(3)]
    client.hset(f"tandem:job:{ids[1]}", field, SPOILT[field])
    claimed = [lease.id for _ in range(3) for lease in claim(book, queue)]
    assert claimed == [ids[0], ids[2]]
    job = get(book, ids[1])
    assert (job.status, (job.error or {})["type"]) == (Status.FAILED, "unreadable_record")


@both
@pytest.mark.parametrize("field", ["request_id", "owner"])
def test_what_is_no_text_is_read_as_one(book: Book, queue: str, field: str) -> None:
    client: Any = book.client
    ids = [put(book, TASKS[queue]) for _ in range(2)]
    client.hset(f"tandem:job:{ids[0]}", field, b"\xff{")
    assert {lease.id for _ in range(2) for lease in claim(book, queue)} == set(ids)


@both
def test_a_lease_that_can_not_be_read_takes_no_neighbour_away(book: Book, queue: str) -> None:
    client: Any = book.client
    ids = [put(book, TASKS[queue]) for _ in range(3)]
    client.hset(f"tandem:job:{ids[1]}", "payload", b'{"to": "\xff"}')
    claimed = [lease for _ in range(3) for lease in claim(book, queue)]
    assert [(lease.id, bool(lease.problem), bool(lease.payload)) for lease in claimed] == [
        (ids[0], False, True),
        (ids[1], True, False),
        (ids[2], False, True),
    ]
    assert book.run(leases.renew(queue, claimed, worker="w")) == [], "it is a lease like others"
    failed = leases.give_up(claimed[1], unreadable(claimed[1].problem), usage=Usage(), ttl=TTL)
    assert book.run(failed)
    job = get(book, ids[1])
    assert (job.status, (job.error or {})["type"]) == (Status.FAILED, "unreadable_record")


@both
def test_a_status_of_a_newer_version_is_carried_through(book: Book, queue: str) -> None:
    client: Any = book.client
    strange, job_id = put(book, TASKS[queue]), put(book, TASKS[queue])
    record = f"tandem:job:{strange}"
    client.hset(record, "status", "resting")
    before = client.hgetall(record)
    job = get(book, strange)
    assert (job.status, job.finished, job.waiting) == ("resting", False, False)
    assert '"status":"resting"' in show(job, links_of("/x", file=False)).model_dump_json()
    assert not (book.run(events.extent(strange)) or Extent(0, finished=True)).finished
    claimed = book.run(
        leases.claim_llm(worker="w", limit=9, ttl=TTL) if queue == "llm" else leases.claim_sync(worker="w", ttl=TTL)
    )
    assert [lease.id for lease in claimed.leases] == [job_id]
    assert claimed.unknown == [], "it is not to be adopted"
    tick(book)
    assert client.hgetall(record) == before
    places = ("arq:queue",) if queue == "llm" else ("tandem:adopting",)
    assert any(strange.encode() in entry for place in places for entry in client.zrange(place, 0, -1))


def test_answers_of_one_round_trip_are_read_one_by_one(book: Book) -> None:
    client: Any = book.client
    good, bad = put(book), put(book)
    client.hset(f"tandem:job:{bad}", "usage_input", "much")
    first, second = book.attempt_all([commands.fetch(bad), commands.fetch(good)])
    assert isinstance(first, UnreadableRecord)
    assert getattr(second, "id", "") == good


@both
@pytest.mark.parametrize("field", ["queue", "task", "owner", "priority", "attempt"])
def test_a_hash_that_is_no_record_of_ours_stops_nobody(book: Book, queue: str, field: str) -> None:
    client: Any = book.client
    ids = [put(book, TASKS[queue]) for _ in range(2)]
    client.hdel(f"tandem:job:{ids[0]}", field)
    claimed = [lease.id for _ in range(2) for lease in claim(book, queue)]
    assert claimed == [ids[1]]


async def test_an_answer_that_can_not_be_read_is_its_own_calls_error(book: Book, valkey: str) -> None:
    client: Any = book.client
    good, bad = put(book), put(book)
    client.hset(f"tandem:job:{bad}", "usage_input", "much")
    batching = BatchingBook(async_client(valkey))
    try:
        outcomes = await asyncio.gather(
            *(batching.run(commands.fetch(job_id)) for job_id in (bad, good)), return_exceptions=True
        )
    finally:
        await batching.aclose()
    assert isinstance(outcomes[0], UnreadableRecord)
    assert getattr(outcomes[1], "id", "") == good


@both
def test_usage_beyond_all_bounds_is_bounded(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    usage = Usage(10**30, 10**19, 1)
    assert book.run(leases.succeed(lease, leases.Success("{}"), usage=usage, ttl=TTL))
    job = get(book, lease.id)
    assert (job.status, job.usage) == (Status.SUCCEEDED, Usage(scripts.MOST_USAGE, scripts.MOST_USAGE, 1))


@both
def test_a_wait_beyond_all_bounds_is_bounded(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    assert book.run(leases.give_up(lease, RetryIn(timedelta(days=999_999_999), FAILURE), usage=Usage(), ttl=TTL))
    job = get(book, lease.id)
    assert job.run_at
    assert job.run_at - job.created_at <= scripts.LONGEST_DELAY + timedelta(minutes=1)


@both
def test_what_a_run_without_a_lease_cost_counts_once(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [stale] = claim(book, queue)
    call = leases.disclaim(queue, replace(leases.claim_sync(worker="w", ttl=TTL), claim=_asked(book)), worker="w")
    assert book.run(call) == 1, "its lease is lost"
    [fresh] = claim(book, queue)
    for _ in range(2):
        assert not succeed(book, stale)
    assert get(book, fresh.id).usage == Usage(1, 2, 1)
    assert succeed(book, fresh)
    assert not succeed(book, stale)
    assert get(book, fresh.id).usage == Usage(2, 4, 2)


def _asked(book: Book) -> str:
    client: Any = book.client
    name: str = client.get("tandem:asked:w").decode().split(" ")[0]
    return name


def test_an_erased_job_costs_nothing_more(book: Book) -> None:
    put(book)
    [lease] = claim(book)
    book.run(commands.cancel(lease.id, ttl=TTL))
    book.run(commands.erase(lease.id))
    assert not succeed(book, lease)
    assert not book.client.exists(f"tandem:job:{lease.id}")


@both
def test_metrics_do_not_grow_with_functions_of_plain_engines(book: Book, queue: str) -> None:
    client: Any = book.client
    for number in range(3):
        job_id = put(book, TASKS[queue])
        native = "arq" if queue == "llm" else "rq"
        client.hset(f"tandem:job:{job_id}", mapping={"native": native, "task": f"function_{number}"})
        [lease] = claim(book, queue)
        book.run(leases.give_up(lease, RetryIn(NOTHING, FAILURE), usage=Usage(1, 1, 1), ttl=TTL))
        [lease] = claim(book, queue)
        succeed(book, lease)
    labels = {name.decode().split("|")[1] for name in client.hkeys("tandem:metrics") if b"|" in name}
    assert labels == {f"plain {native}"}


@both
def test_a_retry_waits_for_the_end_of_the_cancelled_run(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    book.run(commands.cancel(lease.id, ttl=TTL))
    book.run(commands.retry(lease.id))
    assert get(book, lease.id).status is Status.SCHEDULED
    assert claim(book, queue) == [], "the old run may be under way"
    assert not succeed(book, lease)
    assert get(book, lease.id).usage == Usage(1, 2, 1), "its cost is kept"
    [again] = claim(book, queue)
    assert (again.id, again.attempt) == (lease.id, 1)
    assert succeed(book, again)


@both
def test_a_retry_does_not_wait_for_a_run_that_has_ended(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    book.run(commands.cancel(lease.id, ttl=TTL))
    assert not succeed(book, lease)
    book.run(commands.retry(lease.id))
    assert [again.id for again in claim(book, queue)] == [lease.id]


def test_a_retried_job_is_in_no_registry_of_rq(book: Book) -> None:
    """It was handed back, so that it waited in another queue when it was cancelled."""
    client: Any = book.client
    put(book, "email")
    [lease] = claim(book, "sync")
    book.run(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    book.run(commands.cancel(lease.id, ttl=TTL))
    book.run(commands.retry(lease.id))
    assert not [key for key in client.scan_iter("rq:canceled:*") if client.zcard(key)]


def test_a_key_leads_to_its_job_as_long_as_it_lives(book: Book) -> None:
    """Also where a record is kept for a shorter time than the key."""
    client: Any = book.client
    put(book)
    [lease] = claim(book)
    client.hset(f"tandem:job:{lease.id}", "idempotency", "k")
    client.hset("tandem:idempotency:k", mapping={"id": lease.id, "fingerprint": "f"})
    client.pexpire("tandem:idempotency:k", 3 * TTL)
    assert succeed(book, lease)
    assert client.pttl(f"tandem:job:{lease.id}") > 2 * TTL / timedelta(milliseconds=1)


def test_queues_of_plain_rq_are_served_by_turns(book: Book) -> None:
    client: Any = book.client
    for name in ("one", "two"):
        for number in range(10):
            client.rpush(f"rq:queue:{name}", f"{name}-{number}")
    for _ in range(60):
        put(book, "email")
    seen: list[str] = []
    for _ in range(20):
        claimed = book.run(leases.claim_sync(worker="w", ttl=TTL, queues=["one", "two"]))
        seen += [entry.queue for entry in claimed.unknown]
    assert set(seen) == {"one", "two"}
    assert client.zcard("tandem:waiting:sync") == 40, "and mail goes on"


def test_leases_of_nobody_hide_none_behind_them(book: Book) -> None:
    client: Any = book.client
    put(book, "email")
    [lease] = claim(book, "sync")
    newer = put(book, "email")
    client.hset(f"tandem:job:{newer}", "status", "resting")
    strange = {f"gone-{n}:{n}": 0 for n in range(scripts.STEP)} | {"no lease": 0, f"{newer}:1": 1}
    client.zadd("rq:wip:sync", strange | {f"{lease.id}:{lease.token}": 2})
    for _ in range(2):
        tick(book)
    assert client.zrange("rq:wip:sync", 0, -1) == [f"{newer}:1".encode()], "a newer version's is its own"
    assert get(book, lease.id).status is Status.QUEUED


def test_a_claim_that_fails_half_way_has_counted_what_it_changed(book: Book) -> None:
    """What it counts for many jobs it writes once, and nobody counts anew."""
    client: Any = book.client
    for _ in range(3):
        put(book)
    expire_lease(book, claim(book)[0])
    client.set(Key.LATER, "no sorted set")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        claim(book)
    client.delete(Key.LATER)
    assert counts(book, "llm") == {"queued": 1, "running": 2}
    assert_keyspace(client)
    assert len(claim(book)) == 1
    assert counts(book, "llm") == {"running": 3}


def test_a_reservation_that_can_not_be_read_stops_nobody(book: Book) -> None:
    client: Any = book.client
    job_id, ticket = put(book), "gone:1-0:0"
    client.hset(LimitKey.LIMIT_RESERVED, ticket, "{")
    client.zadd(LimitKey.LIMIT_CHECKS, {ticket: 1})
    assert [lease.id for lease in claim(book)] == [job_id]
    assert not client.exists(LimitKey.LIMIT_RESERVED, LimitKey.LIMIT_CHECKS)
