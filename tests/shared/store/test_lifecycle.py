"""What a submitter may ask for, and what happens to a job afterwards, on a real server."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher, submission
from tandem.shared.errors import JobGone, KeyReused, QueueFull, RateExceeded, ShareFull
from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Status, Usage, iso
from tandem.shared.jobs.retry import Fail, HandBack, RetryIn
from tandem.shared.jobs.submission import Admission, Options
from tandem.shared.store import commands, deliveries, events, leases, queues
from tandem.shared.store.batching import BatchingBook
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import Key
from tandem.shared.store.queues import QueueName
from tandem.shared.store.submission import store_job
from tests.support.jobs import (
    CATALOG,
    FAILURE,
    NOTHING,
    PLENTY,
    TASKS,
    TTL,
    age_unknown,
    both,
    claim,
    expire_lease,
    fail,
    get,
    put,
    succeed,
    tick,
)
from tests.support.keyspace.problems import assert_keyspace

ANN = ApiKey("ann", Role.USER, "a-key-0123456789")
BOB = ApiKey("bob", Role.USER, "b-key-0123456789")
CHAT = CATALOG["chat"]
HELLO = CHAT.input.model_validate(CHAT.example)
BYE = CHAT.input.model_validate({"messages": [{"role": "user", "content": "Bye"}]})


def dispatcher_of(book: AsyncBook, **admission: Any) -> Dispatcher:
    return Dispatcher(book, admission=Admission(**{"queue_max": 1000, **admission}), idempotency_ttl=TTL)


# --- submitting once


async def test_a_hundred_submits_of_one_key_are_one_job(async_book: AsyncBook) -> None:
    dispatcher = dispatcher_of(async_book)
    calls = [dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r", idempotency_key="k") for _ in range(100)]
    receipts = await asyncio.gather(*calls)
    assert len({receipt.id for receipt in receipts}) == 1
    assert Counter(receipt.replayed for receipt in receipts) == {True: 99, False: 1}
    assert await async_book.client.zcard("arq:queue") == 1


async def test_a_key_belongs_to_its_owner_and_to_one_submission(async_book: AsyncBook) -> None:
    dispatcher = dispatcher_of(async_book)
    first = await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r", idempotency_key="k")
    keys = await async_book.client.dbsize()
    with pytest.raises(KeyReused):
        await dispatcher.enqueue(CHAT, BYE, caller=ANN, request_id="r", idempotency_key="k")
    assert await async_book.client.dbsize() == keys
    assert (await dispatcher.enqueue(CHAT, BYE, caller=BOB, request_id="r", idempotency_key="k")).id != first.id
    assert not [
        key async for key in async_book.client.scan_iter("tandem:idempotency:*") if await ttl(async_book, key) < 0
    ]


async def ttl(book: AsyncBook, key: bytes) -> int:
    return int(await book.client.pttl(key))


@pytest.mark.parametrize("end", ["erased", "run out"])
async def test_a_key_holds_when_its_job_is_gone(async_book: AsyncBook, end: str) -> None:
    dispatcher = dispatcher_of(async_book)
    first = await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r", idempotency_key="k")
    await async_book.run(commands.cancel(first.id, ttl=TTL))
    if end == "erased":
        assert await async_book.run(commands.erase(first.id)) == 1
    else:
        await async_book.client.delete(f"tandem:job:{first.id}")
    with pytest.raises(JobGone):
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r", idempotency_key="k")
    with pytest.raises(KeyReused):
        await dispatcher.enqueue(CHAT, BYE, caller=ANN, request_id="r", idempotency_key="k")


async def test_an_erased_job_leaves_the_key_of_a_later_one(async_book: AsyncBook) -> None:
    """A key is forgotten before its job is; used again it leads to another job."""
    dispatcher = dispatcher_of(async_book)
    submit_again = partial(dispatcher.enqueue, CHAT, HELLO, caller=ANN, request_id="r", idempotency_key="k")
    first = await submit_again()
    await async_book.run(commands.cancel(first.id, ttl=TTL))
    [key] = await async_book.client.keys("tandem:idempotency:*")
    await async_book.client.delete(key)
    second = await submit_again()
    assert second.id != first.id
    await async_book.run(commands.erase(first.id))
    assert (await submit_again()).id == second.id


# --- admission


async def test_a_key_over_its_rate_is_told_when_to_come_back(async_book: AsyncBook) -> None:
    dispatcher = dispatcher_of(async_book, rpm=3)
    receipts = [await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r") for _ in range(3)]
    assert [receipt.quota and receipt.quota.left for receipt in receipts] == [2, 1, 0]
    with pytest.raises(RateExceeded) as refused:
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    assert 15 <= refused.value.retry_after <= 20
    await dispatcher.enqueue(CHAT, HELLO, caller=BOB, request_id="r")


async def test_a_key_fills_only_its_share(async_book: AsyncBook) -> None:
    dispatcher = dispatcher_of(async_book, queue_max=4, share=2)
    ids = [(await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")).id for _ in range(2)]
    with pytest.raises(ShareFull):
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    for _ in range(2):
        await dispatcher.enqueue(CHAT, HELLO, caller=BOB, request_id="r")
    with pytest.raises(QueueFull):
        await dispatcher.enqueue(CHAT, HELLO, caller=ApiKey("cy", Role.USER, "x"), request_id="r")
    await async_book.run(commands.cancel(ids[0], ttl=TTL))
    await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")


async def test_a_full_queue_names_the_time_it_takes_to_drain(async_book: AsyncBook) -> None:
    dispatcher = dispatcher_of(async_book, queue_max=30)
    for _ in range(30):
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    with pytest.raises(QueueFull) as unknown:
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    assert unknown.value.retry_after == 10, "nothing ended yet"
    now = await async_book.run(commands.now())
    bucket = int(now.timestamp()) // 10 - 3
    await async_book.client.set(f"tandem:rate:llm:{bucket}", 3, ex=60)  # three ended within 30 to 40 s
    with pytest.raises(QueueFull) as known:
        await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    assert 10 <= known.value.retry_after <= 14
    await async_book.run(leases.claim_llm(worker="w", limit=20, ttl=TTL))
    await async_book.run(leases.renew("llm", [], worker="w"))
    receipt = await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r")
    assert receipt.job
    assert receipt.job.estimated_start
    assert 90 < (receipt.job.estimated_start - receipt.job.created_at).total_seconds() < 140


# --- when and in which order


@both
def test_a_delayed_job_waits(book: Book, queue: str) -> None:
    late = put(book, TASKS[queue], run_at=datetime.now(UTC) + timedelta(hours=1))
    past = put(book, TASKS[queue], run_at=datetime.now(UTC) - timedelta(days=1))
    job = get(book, late)
    assert (job.status, job.run_at is not None) == (Status.SCHEDULED, True)
    assert [lease.id for lease in claim(book, queue)] == [past]
    tick(book)
    assert claim(book, queue) == []


@both
def test_a_job_that_did_not_start_in_time_expires(book: Book, queue: str) -> None:
    job_id, begun = (put(book, TASKS[queue], expires_in=timedelta(hours=1)) for _ in range(2))
    assert tick(book)["expire_unstarted"] == 0
    assert book.client.zcard("tandem:expiring") == 2
    book.client.hset(f"tandem:job:{job_id}", "expires_at", "1")
    book.client.zadd("tandem:expiring", {job_id: 1})
    assert tick(book)["expire_unstarted"] == 1
    assert get(book, job_id).status is Status.EXPIRED
    [lease] = claim(book, queue)
    assert lease.id == begun
    assert book.client.zcard("tandem:expiring") == 0, "it has begun"
    assert succeed(book, lease)


@both
def test_an_expired_job_is_not_claimed_either(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], expires_in=timedelta(milliseconds=1))
    book.client.hset(f"tandem:job:{job_id}", "expires_at", "1")
    assert claim(book, queue) == []
    assert get(book, job_id).status is Status.EXPIRED


@both
def test_a_job_that_was_handed_back_began_in_time(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], expires_in=timedelta(hours=1))
    [lease] = claim(book, queue)
    book.run(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    book.client.hset(f"tandem:job:{job_id}", "expires_at", "1")
    assert [again.id for again in claim(book, queue)] == [job_id]


def test_cancelled_jobs_leave_their_queue(book: Book) -> None:
    ids = [put(book, "email") for _ in range(20)]
    for n, job_id in enumerate(ids):
        book.client.hset(f"tandem:job:{job_id}", "ready_at", str(n + 1))
    for n in (0, 9, 10, 11, 19):
        assert book.run(commands.cancel(ids[n], ttl=TTL)) is Status.QUEUED
    left = [job_id for n, job_id in enumerate(ids) if n not in {0, 9, 10, 11, 19}]
    assert [entry.decode() for entry in book.client.zrange("tandem:waiting:sync", 0, -1)] == left  # type: ignore[union-attr]
    assert_keyspace(book.client)


def test_the_dead_are_trimmed_behind_old_jobs_that_live_on(book: Book) -> None:
    # More living ones than a step looks at; then ten that are gone.
    living = {f"living-{i}": i + 1 for i in range(250)}
    for job_id in living:
        book.client.hset(f"tandem:job:{job_id}", "status", "queued")
    book.client.zadd(Key.INDEX, living | {f"dead-{i}": 1000 + i for i in range(10)})
    for _ in range(2000):
        book.client.delete("tandem:trimmed")
        tick(book)
        if book.client.zcard(Key.INDEX) == len(living):
            return
    raise AssertionError(book.client.zcard(Key.INDEX))


def test_a_killed_sync_worker_leaves_rqs_lists(book: Book) -> None:
    book.client.hset("rq:worker:alive", "queues", "sync")
    lists = ("rq:workers", "rq:workers:sync")
    for name in lists:
        book.client.sadd(name, "rq:worker:alive", "rq:worker:killed")
    tick(book)
    assert [book.client.smembers(name) for name in lists] == [{b"rq:worker:alive"}] * 2


@both
def test_high_goes_first_and_low_is_never_starved(book: Book, queue: str) -> None:
    for priority in ("low", "normal", "high"):
        for _ in range(40):
            put(book, TASKS[queue], priority=priority)
    order: list[str] = []
    while len(order) < 40:
        limit = leases.claim_llm(worker="w", limit=8, ttl=TTL)
        claimed = book.run(limit if queue == "llm" else leases.claim_sync(worker="w", ttl=TTL)).leases
        order += [get(book, lease.id).priority for lease in claimed]
    shares = Counter(order)
    assert (abs(shares["high"] - 32), abs(shares["normal"] - 6), abs(shares["low"] - 2)) <= (1, 1, 1)


# --- events


def test_events_are_appended_once_though_the_answer_got_lost(book: Book) -> None:
    put(book)
    [lease] = claim(book)
    call = events.append(lease, [(Kind.DELTA, {"text": "once"})])
    assert [book.run(call), book.run(call)] == [True, True]
    assert [event.kind for event in book.run(events.read(lease.id, after=0))].count(Kind.DELTA) == 1


@both
def test_a_jobs_life_in_events(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    [lease] = claim(book, queue)
    assert book.run(events.append(lease, [(Kind.PROGRESS, {"done": 1, "total": 2, "message": "ü"})]))
    assert get(book, job_id).progress == {"done": 1, "total": 2, "message": "ü"}
    assert succeed(book, lease)
    assert not book.run(events.append(lease, [(Kind.DELTA, {"text": "too late"})]))
    kept = book.run(events.read(job_id, after=0))
    assert [event.seq for event in kept] == list(range(1, 7))
    assert [event.kind for event in kept] == ["status", "status", "attempt", "progress", "status", "end"]
    data = [json.loads(event.data) for event in kept]
    assert [entry["status"] for entry in data if "status" in entry] == ["queued", "running", "succeeded"]
    finished = get(book, job_id).finished_at
    assert finished
    assert data[4] == {"status": "succeeded", "attempt": 1, "at": iso(finished)}
    assert book.run(events.read(job_id, after=4)) == kept[4:]
    assert 0 < int(book.client.pttl(f"tandem:events:{job_id}")) <= TTL / timedelta(milliseconds=1)  # type: ignore[arg-type]


async def test_a_watcher_hears_what_is_kept(async_book: AsyncBook, book: Book) -> None:
    job_id = put(book)
    async with async_book.client.pubsub() as pubsub:
        await pubsub.subscribe(events.channel(job_id))
        [lease] = claim(book)
        succeed(book, lease)
        heard: list[Event] = []
        async for message in pubsub.listen():
            if message["type"] == "message":
                heard += events.parse(message["data"])
                if heard[-1].kind is Kind.END:
                    break
    assert heard == book.run(events.read(job_id, after=1))


# --- cancel, retry, erase


@both
def test_a_cancelled_lease_is_told_from_a_lost_one(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [first] = claim(book, queue)
    assert not book.run(leases.ended_in_order(first)), "it holds"
    expire_lease(book, first)
    tick(book)
    [second] = claim(book, queue)
    book.run(commands.cancel(second.id, ttl=TTL))
    for _ in ("cancelled", "run again"):
        assert not book.run(leases.ended_in_order(first)), "lost, and another's run was cancelled"
        assert book.run(leases.ended_in_order(second))
        book.run(commands.retry(second.id))
    book.run(commands.cancel(second.id, ttl=TTL))
    assert book.run(commands.erase(second.id))
    assert book.run(leases.ended_in_order(second)), "only what has ended can be erased"


@both
def test_a_cancelled_run_can_write_nothing_but_its_cost(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    assert book.run(commands.cancel(lease.id, ttl=TTL)) is Status.RUNNING
    assert book.run(commands.cancel(lease.id, ttl=TTL)) is Status.CANCELLED
    assert book.run(leases.renew(queue, [lease], worker="w")) == [lease.id]
    handed = leases.give_up(lease, HandBack(NOTHING), usage=Usage(5, 6, 1), ttl=TTL)
    assert not book.run(handed)
    assert not succeed(book, lease)
    job = get(book, lease.id)
    assert (job.status, job.result, job.usage) == (Status.CANCELLED, None, Usage(5, 6, 1))


@both
def test_a_failed_job_runs_again_as_if_new(book: Book, queue: str) -> None:
    put(book, TASKS[queue], priority="high")
    [lease] = claim(book, queue)
    book.run(leases.give_up(lease, Fail(FAILURE), usage=Usage(1, 1, 1), ttl=TTL))
    assert book.run(commands.retry(lease.id, only=Status.EXPIRED)) is Status.FAILED
    assert get(book, lease.id).status is Status.FAILED
    assert book.run(commands.retry(lease.id)) is Status.FAILED
    job = get(book, lease.id)
    assert (job.status, job.attempt, job.error, job.attempts) == (Status.QUEUED, 0, None, [])
    assert job.usage == Usage(1, 1, 1), "what it cost stays spent"
    assert not [key for key in book.client.scan_iter(f"*{lease.id}*") if int(book.client.pttl(key)) >= 0]  # type: ignore[arg-type]
    [again] = claim(book, queue)
    assert (again.id, again.attempt, again.payload) == (lease.id, 1, lease.payload)
    assert book.run(commands.retry(lease.id)) is Status.RUNNING
    first = book.run(events.read(lease.id, after=0))[0]
    assert first.seq > 4, "numbers go on, so that nobody mistakes new events for old ones"
    succeed(book, again)
    assert book.run(commands.retry(lease.id)) is Status.SUCCEEDED
    assert book.run(commands.erase(lease.id)) == 1
    assert not list(book.client.scan_iter(f"*{lease.id}*"))


def test_nobody_is_no_job(book: Book) -> None:
    assert book.run(commands.cancel("nobody", ttl=TTL)) is None
    assert book.run(commands.retry("nobody")) is None


# --- queues


@both
def test_a_paused_queue_takes_jobs_and_starts_none(book: Book, queue: str) -> None:
    name = QueueName(queue)
    book.run(queues.pause(name, paused=True))
    put(book, TASKS[queue])
    assert claim(book, queue) == []
    state = book.run(queues.look(name))
    assert (state.paused, state.waiting, state.running) == (True, 1, 0)
    book.run(queues.pause(name, paused=False))
    [lease] = claim(book, queue)
    book.run(leases.renew(queue, [lease], worker="w1"))
    state = book.run(queues.look(name))
    assert (state.paused, state.waiting, state.running, state.oldest_age) == (False, 0, 1, None)
    [worker] = state.workers
    assert (worker.id, worker.running) == ("w1", [lease.id])
    book.run(leases.give_up(lease, Fail(FAILURE), usage=Usage(), ttl=TTL))
    state = book.run(queues.look(name))
    assert (state.failed, state.running) == (1, 0)
    assert state.rate_per_minute > 0


# --- the batch


async def test_calls_of_one_tick_share_a_round_trip(async_book: AsyncBook, book: Book) -> None:
    batching = BatchingBook(async_book.client)
    ids = [put(book) for _ in range(20)]
    calls = [leases.succeed(lease, leases.Success("{}"), usage=Usage(), ttl=TTL) for lease in claim(book)]
    sent = await _reads(async_book)
    assert await asyncio.gather(*(batching.run(call) for call in calls)) == [True] * 20
    assert await _reads(async_book) - sent <= 3, "one for the twenty, one for the counting"
    assert {get(book, job_id).status for job_id in ids} == {Status.SUCCEEDED}


async def test_what_can_not_be_sent_is_an_error_for_each_of_the_batch(async_book: AsyncBook, book: Book) -> None:
    batching = BatchingBook(async_book.client)
    put(book)
    [lease] = claim(book)
    unsendable = events.append(lease, [(Kind.PROGRESS, {"message": "\ud800"})])
    calls = [batching.run(unsendable), batching.run(commands.now())]
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {UnicodeEncodeError}


async def _reads(book: AsyncBook) -> int:
    """How often the server has read from a socket."""
    return int((await book.client.info("stats"))["total_reads_processed"])


def test_a_webhook_is_a_delivery_of_its_own(book: Book) -> None:
    job_id = put(book, webhook_url="https://example.com/hook")
    [lease] = claim(book)
    succeed(book, lease)
    [(delivery, due)] = book.client.zrange("arq:queue:webhooks", 0, -1, withscores=True)  # type: ignore[misc]
    assert delivery.decode() == f"{job_id}-1"
    assert due > 0
    [shown] = get(book, job_id).deliveries
    assert (shown["event"], shown["status"], shown["url"]) == ("job.succeeded", "pending", "https://example.com/hook")
    assert book.client.pttl(f"tandem:delivery:{job_id}-1") == -1, "no volatile-* eviction may take it"


async def test_a_job_with_a_webhook_knows_its_url(async_book: AsyncBook) -> None:
    dispatcher = Dispatcher(async_book, admission=PLENTY, idempotency_ttl=TTL, url_of="/v1/jobs/{}".format)
    for hook in ("https://example.com/hook", None):
        receipt = await dispatcher.enqueue(CHAT, HELLO, caller=ANN, request_id="r", options=Options(webhook_url=hook))
        job = await async_book.run(commands.fetch(receipt.id))
        assert job is not None
        assert job.url == (f"/v1/jobs/{receipt.id}" if hook else None)


def test_an_id_may_be_given_and_is_stored_once(book: Book) -> None:
    job = submission(CHAT, HELLO, owner="ann", request_id="r", job_id="every-day-1", options=Options(stream=True))
    first = book.run(store_job(job, PLENTY))
    assert book.run(store_job(job, PLENTY)).created_at == first.created_at  # type: ignore[union-attr]
    [lease] = claim(book)
    assert (lease.id, lease.stream) == ("every-day-1", True)


@both
def test_a_task_is_unknown_anew_when_somebody_ran_or_retried_its_job(book: Book, queue: str) -> None:
    """The five minutes of a deploy must not be over before they begin."""
    job_id = put(book, TASKS[queue])

    def leave_to_others() -> None:
        [lease] = claim(book, queue)
        book.run(commands.note_unknown_task(job_id))
        book.run(leases.give_up(lease, HandBack(NOTHING, begun=False, known=False), usage=Usage(), ttl=TTL))

    leave_to_others()
    age_unknown(book, job_id, timedelta(minutes=6))
    leave_to_others()
    assert book.run(commands.unknown_task_age(job_id)) >= timedelta(minutes=6), "nobody has run it"
    [lease] = claim(book, queue)
    book.run(leases.give_up(lease, RetryIn(NOTHING, FAILURE), usage=Usage(), ttl=TTL))
    assert book.run(commands.unknown_task_age(job_id)) == NOTHING
    leave_to_others()
    age_unknown(book, job_id, timedelta(minutes=6))
    book.run(commands.cancel(job_id, ttl=TTL))
    book.run(commands.retry(job_id))
    assert book.run(commands.unknown_task_age(job_id)) == NOTHING


@both
def test_a_job_that_waits_for_a_limit_at_workers_that_know_its_task_is_of_no_unknown_task(
    book: Book, queue: str
) -> None:
    """In a deploy of more than five minutes an old worker would fail what new ones only put off."""
    job_id = put(book, TASKS[queue])
    for known, age in ((False, NOTHING), (False, timedelta(minutes=6)), (True, NOTHING)):
        [lease] = claim(book, queue)
        book.run(commands.note_unknown_task(job_id))
        if age:
            age_unknown(book, job_id, age)
        assert book.run(commands.unknown_task_age(job_id)) >= age
        book.run(leases.give_up(lease, HandBack(NOTHING, begun=False, known=known), usage=Usage(), ttl=TTL))
    assert book.run(commands.unknown_task_age(job_id)) == NOTHING
    assert get(book, job_id).started_at is None, "it may still expire"


def test_a_renewal_that_crosses_the_outcome_finds_nothing_lost(book: Book) -> None:
    """As in a full worker, whose renewals and outcomes share a round trip."""
    ended, cancelled, lost = [put(book) for _ in range(3)]
    held = {str(lease.id): lease for lease in claim(book)}
    assert succeed(book, held[ended])
    book.run(commands.cancel(cancelled, ttl=TTL))
    expire_lease(book, held[lost])
    claim(book)
    for _ in range(3):
        assert book.run(leases.renew("llm", [*held.values()], worker="w")) == [cancelled, lost]
    metrics: dict[bytes, bytes] = book.client.hgetall("tandem:metrics")  # type: ignore[assignment]
    assert metrics[b"lease_losses|llm"] == b"1", "however often it is asked for"


def test_a_delivery_that_another_has_claimed_is_settled_by_it_alone(book: Book) -> None:
    job_id = put(book)
    book.client.hset(f"tandem:job:{job_id}", "webhook", "http://a.example/")
    book.run(commands.cancel(job_id, ttl=TTL))
    [late] = book.run(deliveries.claim(limit=1, lease=NOTHING)).deliveries
    [fresh] = book.run(deliveries.claim(limit=1, lease=TTL)).deliveries
    delivered = deliveries.Verdict(deliveries.Outcome.DELIVERED)
    assert not book.run(deliveries.settle(late, delivered, body=""))
    assert book.run(deliveries.settle(fresh, delivered, body=""))


@both
def test_a_retried_job_is_among_the_failed_ones_no_more(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    [lease] = claim(book, queue)
    fail(book, lease)
    assert book.client.zrange(f"tandem:failed:{queue}", 0, -1) == [job_id.encode()]
    book.run(commands.retry(job_id))
    assert book.client.zrange(f"tandem:failed:{queue}", 0, -1) == []


@both
def test_a_wish_whose_answer_got_lost_says_the_same_again(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    cancelled = commands.cancel(job_id, ttl=TTL)
    assert [book.run(cancelled) for _ in range(2)] == [Status.QUEUED, Status.QUEUED]
    assert book.run(commands.cancel(job_id, ttl=TTL)) is Status.CANCELLED
    again = commands.retry(job_id)
    assert [book.run(again) for _ in range(2)] == [Status.CANCELLED, Status.CANCELLED]
    assert book.run(commands.retry(job_id)) is Status.QUEUED
    assert get(book, job_id).status is Status.QUEUED
