"""The job book on a real server: transitions, fencing, recovery, listings."""

import time
from datetime import timedelta
from typing import Any, cast

import pytest
import redis

from tandem.shared.dispatch import Dispatcher
from tandem.shared.errors import QueueFull, TransientError
from tandem.shared.jobs.model import FINAL, TRANSITIONS, Job, Status, Usage
from tandem.shared.jobs.retry import Fail, HandBack, RetryIn, decide
from tandem.shared.jobs.submission import Admission
from tandem.shared.store import commands, leases, listing, scripts
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.listing import Filter
from tandem.shared.store.signature import ms
from tests.support.jobs import (
    ANN,
    CATALOG,
    FAILURE,
    NOTHING,
    TASKS,
    TTL,
    both,
    claim,
    counts,
    expire_lease,
    get,
    lease_end,
    put,
    succeed,
    tick,
)


@both
def test_from_submit_to_result(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    assert get(book, job_id).status is Status.QUEUED
    assert counts(book, queue) == {"queued": 1}
    [lease] = claim(book, queue)
    assert (lease.id, lease.attempt, lease.owner) == (job_id, 1, "ann")
    running = get(book, job_id)
    assert running.status is Status.RUNNING
    assert running.started_at is not None
    assert running.started_at >= running.created_at
    assert claim(book, queue) == []
    assert succeed(book, lease)
    done = get(book, job_id)
    assert done.status is Status.SUCCEEDED
    assert done.result == {"a": 1}
    assert done.usage == Usage(1, 2, 1)
    assert counts(book, queue) == {}
    assert 0 < book.client.pttl(Key.JOB + job_id) <= TTL / timedelta(milliseconds=1)  # type: ignore[operator]


@both
def test_a_lease_lasts_its_time_and_not_as_long_as_a_record(book: Book, queue: str) -> None:
    """A claim is given both durations: one in the other's place would leave a dead worker's job for a day."""
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    now = cast("tuple[int, int]", book.client.time())[0]
    ends = {
        "llm": lambda: (lease_end(book, lease) or 0) / 1000,
        "sync": lambda: cast("float", book.client.zscore("rq:wip:sync", f"{lease.id}:{lease.token}")),
    }[queue]()
    assert now < ends <= now + 1 + scripts.LEASE.total_seconds()


@both
def test_an_unfinished_job_has_no_ttl_in_any_key(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    claim(book, queue)
    keys = [key for key in book.client.scan_iter("*") if job_id.encode() in key and b"in-progress" not in key]
    assert keys
    assert all(book.client.pttl(key) == -1 for key in keys)


@both
def test_writing_twice_with_one_lease_is_one_result(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    assert succeed(book, lease)
    assert succeed(book, lease), "a repeat of a call whose answer got lost is no lost lease"
    assert get(book, lease.id).usage.requests == 1


@both
def test_a_lost_lease_writes_nothing(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [stale] = claim(book, queue)
    expire_lease(book, stale)
    tick(book)
    [fresh] = claim(book, queue)
    assert fresh.token != stale.token
    assert not succeed(book, stale)
    assert not book.run(leases.give_up(stale, Fail(FAILURE), usage=Usage(), ttl=TTL))
    assert book.run(leases.renew(queue, [stale], worker="w")) == [stale.id]
    assert book.run(leases.renew(queue, [fresh], worker="w")) == []
    assert get(book, fresh.id).status is Status.RUNNING
    assert succeed(book, fresh)


@both
def test_a_token_comes_never_again_when_the_book_rolls_back(book: Book, queue: str) -> None:
    """A fail-over to a replica that has not heard of the last writes: the counter of tokens goes back with them."""
    put(book, TASKS[queue])
    before = {key: book.client.dump(key) for key in book.client.scan_iter()}
    [lost] = claim(book, queue)
    book.client.flushdb()
    for key, value in before.items():
        book.client.restore(key, 0, cast("bytes", value))
    [fresh] = claim(book, queue)
    assert fresh.token.partition("-")[0] == lost.token.partition("-")[0], "the counter was to go back"
    assert fresh.token != lost.token
    assert book.run(leases.renew(queue, [lost], worker="old")) == [lost.id]
    assert not succeed(book, lost)
    assert get(book, fresh.id).status is Status.RUNNING
    assert succeed(book, fresh)


@both
def test_the_job_of_a_dead_worker_goes_before_the_backlog(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    for _ in range(300):
        put(book, TASKS[queue])
    expire_lease(book, lease)
    tick(book)
    again = claim(book, queue)[0]
    assert (again.id, again.attempt) == (lease.id, 2)


@both
def test_what_is_given_back_goes_before_higher_priorities(book: Book, queue: str) -> None:
    first = put(book, TASKS[queue], priority="low")
    [lease] = claim(book, queue)
    for _ in range(30):
        put(book, TASKS[queue], priority="high")
    expire_lease(book, lease)
    tick(book)
    again = claim_llm(book, suspects=1, limit=1)[0] if queue == "llm" else claim(book, queue)[0]
    assert (again.id, again.attempt) == (first, 2)
    book.run(leases.give_up(again, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert book.run(commands.cancel(first, ttl=TTL)) is Status.QUEUED
    assert len(claim(book, queue)) == (30 if queue == "llm" else 1)
    assert get(book, first).status is Status.CANCELLED


def gap(book: Book) -> None:
    """What an outage of Redis leaves: nobody called for a while."""
    book.client.set("tandem:seen", 1)


@both
def test_after_an_outage_leases_get_a_reprieve(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    tick(book)
    expire_lease(book, lease)
    gap(book)
    tick(book)
    assert claim(book, queue) == [], "its holder could not renew it"
    assert book.run(leases.renew(queue, [lease], worker="w")) == []
    expire_lease(book, lease)
    tick(book)
    assert [again.attempt for again in claim(book, queue)] == [2], "without a gap it is dead"


def test_a_lease_that_would_end_just_after_an_outage_gets_the_same_reprieve(book: Book) -> None:
    put(book)
    [lease] = claim(book)
    gap(book)
    [seconds, _] = cast("tuple[int, int]", book.client.time())
    book.client.zadd("tandem:leases:llm", {lease.id: (seconds + 1) * 1000})
    tick(book)
    assert (lease_end(book, lease) or 0) >= seconds * 1000 + ms(scripts.REPRIEVE)


def claim_one(queue: str) -> scripts.Call[leases.Claimed]:
    return leases.claim_llm(worker="w", limit=1, ttl=TTL) if queue == "llm" else leases.claim_sync(worker="w", ttl=TTL)


@both
def test_a_claim_without_an_answer_leaves_nothing_behind(book: Book, queue: str) -> None:
    ids = {put(book, TASKS[queue]), put(book, TASKS[queue])}
    [running] = book.run(claim_one(queue)).leases
    call = claim_one(queue)
    [unheard] = book.run(call).leases
    [again] = book.run(call).leases
    assert (again.id, again.attempt) == (unheard.id, 1)
    assert {running.id, again.id} == ids
    assert get(book, again.id).attempts == []
    assert not succeed(book, unheard)
    assert succeed(book, again)
    assert succeed(book, running), "what was claimed before is not touched"


@both
def test_the_next_claim_takes_nothing_back(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = book.run(claim_one(queue)).leases
    assert claim(book, queue) == []
    assert succeed(book, lease)


def test_a_rate_limit_burns_no_attempt_and_is_counted(book: Book) -> None:
    put(book)
    for times in range(3):
        [lease] = claim(book)
        assert (lease.attempt, lease.throttled) == (1, times)
        back = HandBack(timedelta(0), throttled=True)
        assert book.run(leases.give_up(lease, back, usage=Usage(), ttl=TTL))


@both
def test_a_snooze_waits(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    book.run(leases.give_up(lease, HandBack(timedelta(minutes=1)), usage=Usage(), ttl=TTL))
    tick(book)
    assert claim(book, queue) == []
    assert (get(book, lease.id).status, get(book, lease.id).attempt) == (Status.SCHEDULED, 0)


def test_a_lease_without_a_record_is_dropped(book: Book) -> None:
    book.client.zadd("tandem:leases:llm", {"gone": 1})
    book.client.zadd("arq:queue", {"gone": 1})
    claim(book)
    assert book.client.zcard("tandem:leases:llm") == 0


def test_three_crashes_are_a_crash_loop(book: Book) -> None:
    job_id = put(book, "email")
    for _ in range(3):
        [lease] = claim(book, "sync")
        assert book.run(leases.crash(lease, ttl=TTL, delay=NOTHING))
    assert claim(book, "sync") == []
    is_a_crash_loop(get(book, job_id), 3)
    assert counts(book, "sync") == {}


def test_a_sync_job_that_is_lost_with_its_worker_is_not_convicted_before_long(book: Book) -> None:
    job_id = put(book, "email")
    for lost in range(scripts.MAX_LOSSES):
        assert get(book, job_id).status is Status.QUEUED, lost
        expire_lease(book, claim(book, "sync")[0])
        tick(book)
    is_a_crash_loop(get(book, job_id), scripts.MAX_LOSSES)


def test_losses_use_up_attempts_and_fail_no_job(book: Book) -> None:
    job_id = put(book, "report")
    for lost in range(1, 4):
        [lease] = claim(book, "sync")
        assert (lease.attempt, lease.max_attempts) == (lost, 3)
        expire_lease(book, lease)
        tick(book)
    [fourth] = claim(book, "sync")
    assert (fourth.attempt, get(book, job_id).status) == (4, Status.RUNNING)
    decision = decide(TransientError("away"), CATALOG["report"].retry, attempt=fourth.attempt, jitter=0.5)
    assert isinstance(decision, Fail), "an error finds no attempt left"


def is_a_crash_loop(job: Job, crashes: int) -> None:
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error["type"] == "crash_loop"
    assert [entry["type"] for entry in job.attempts] == ["worker_crash"] * crashes


def crash_worker(book: Book, leases: list[Lease]) -> None:
    for lease in leases:
        expire_lease(book, lease)
    assert claim_llm(book, suspects=0, limit=0) == []  # finds what expired and takes nothing


def claim_llm(book: Book, *, suspects: int, limit: int = 100) -> list[Lease]:
    return book.run(leases.claim_llm(worker="w", limit=limit, ttl=TTL, suspects=suspects)).leases


def test_a_shared_process_that_dies_convicts_nobody(book: Book) -> None:
    ids = {put(book) for _ in range(3)}
    for _ in range(2):
        crash_worker(book, claim_llm(book, suspects=0))
    assert claim_llm(book, suspects=0) == [], "after two crashes they are suspects"
    [suspect] = claim_llm(book, suspects=1)
    assert suspect.suspect
    assert suspect.id in ids
    for _ in range(3):  # its worker is killed, again and again
        crash_worker(book, [suspect])
        [suspect] = [lease for lease in claim_llm(book, suspects=1) if lease.id == suspect.id]
    assert succeed(book, suspect), "that is not its fault"


def test_a_worker_takes_as_many_suspects_as_it_has_room_for(book: Book) -> None:
    """One poison job makes suspects of all its neighbours: they must not wait for each other."""
    for _ in range(5):
        put(book)
    for _ in range(2):
        crash_worker(book, claim_llm(book, suspects=0))
    put(book)
    first = book.run(leases.claim_llm(worker="w", limit=3, ttl=TTL, suspects=2))
    assert [lease.suspect for lease in first.leases] == [True, True, False]
    full = book.run(leases.claim_llm(worker="w", limit=3, ttl=TTL, suspects=0))
    assert full.next_due is None, "suspects that it has no room for are no reason to look again"
    rest = book.run(leases.claim_llm(worker="w", limit=9, ttl=TTL, suspects=4))
    assert [lease.suspect for lease in rest.leases] == [True, True, True]


def test_a_suspect_that_is_put_back_waits_as_long_as_it_was_told(book: Book) -> None:
    """A provider's 429 holds for it, too."""
    put(book)
    for _ in range(2):
        crash_worker(book, claim_llm(book, suspects=0))
    [suspect] = claim_llm(book, suspects=1)
    later = HandBack(timedelta(seconds=60), throttled=True)
    assert book.run(leases.give_up(suspect, later, usage=Usage(), ttl=TTL))
    assert claim_llm(book, suspects=1) == []


def test_a_suspect_whose_own_process_dies_is_convicted(book: Book) -> None:
    put(book)
    for _ in range(2):
        crash_worker(book, claim_llm(book, suspects=0))
    [suspect] = claim_llm(book, suspects=1)
    assert book.run(leases.crash(suspect, ttl=TTL, delay=NOTHING))
    is_a_crash_loop(get(book, suspect.id), 3)
    assert counts(book, "llm") == {}
    assert book.client.zcard("tandem:suspects:llm") == 0


def test_a_suspect_that_is_lost_with_each_worker_is_given_up(book: Book) -> None:
    job_id = put(book)
    while leases := claim_llm(book, suspects=1):
        crash_worker(book, leases)
    is_a_crash_loop(get(book, job_id), scripts.SUSPECT_AFTER + scripts.MAX_LOSSES)


def test_a_suspect_that_is_lost_with_what_it_shared_starts_at_once_and_is_no_more_convicted(book: Book) -> None:
    job_id = put(book)
    for _ in range(2):
        crash_worker(book, claim_llm(book, suspects=0))
    for lost in range(1, scripts.MAX_LOSSES):
        [suspect] = claim_llm(book, suspects=1)
        assert book.run(leases.lose(suspect, ttl=TTL))
        assert book.run(leases.lose(suspect, ttl=TTL)), "told twice"
        assert (get(book, job_id).status, len(get(book, job_id).attempts)) == (Status.QUEUED, 2 + lost)
    [suspect] = claim_llm(book, suspects=1)
    assert book.run(leases.lose(suspect, ttl=TTL))
    is_a_crash_loop(get(book, job_id), scripts.SUSPECT_AFTER + scripts.MAX_LOSSES)
    assert counts(book, "llm") == {}


@both
def test_a_retry_waits_and_keeps_its_errors(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    retry = RetryIn(timedelta(hours=1), FAILURE)
    assert book.run(leases.give_up(lease, retry, usage=Usage(3, 0, 1), ttl=TTL))
    job = get(book, lease.id)
    assert job.status is Status.SCHEDULED
    assert job.run_at is not None
    assert job.attempts[0]["type"] == "oops"
    assert claim(book, queue) == []
    assert counts(book, queue) == {"scheduled": 1}
    book.client.zadd("tandem:later:llm", {lease.id: 1}, xx=True)
    book.client.zadd("rq:scheduled:sync", {lease.id: 1}, xx=True)
    tick(book)
    [again] = claim(book, queue)
    assert again.attempt == 2
    assert succeed(book, again)
    assert get(book, lease.id).usage == Usage(4, 2, 2)
    assert get(book, lease.id).error is None


@both
def test_handing_back_gives_the_attempt_back_and_goes_first(book: Book, queue: str) -> None:
    first = put(book, TASKS[queue])
    [lease] = claim(book, queue)
    for _ in range(3):
        put(book, TASKS[queue])
    book.run(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert get(book, first).attempt == 0
    again = claim(book, queue)[0]
    assert (again.id, again.attempt) == (first, 1)


@both
def test_a_crash_told_by_the_parent_counts(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = claim(book, queue)
    assert book.run(leases.crash(lease, ttl=TTL, delay=NOTHING))
    assert get(book, lease.id).status is Status.QUEUED
    assert book.run(leases.crash(lease, ttl=TTL, delay=NOTHING)), "told twice"
    assert len(get(book, lease.id).attempts) == 1


def test_finished_and_unknown_ids_in_the_queues_stop_nobody(book: Book) -> None:
    done, _running = put(book), put(book)
    claim(book)
    now = int(time.time() * 1000)  # whole, as arq's scores are: with a fraction it may be later than the claim's now
    book.client.zadd("arq:queue", {"stranger": 1, "orphan": now})
    book.client.set("arq:job:stranger", "{}")
    book.client.rpush("rq:queue:sync", "stranger")
    book.client.hset(Key.JOB + done, "status", "succeeded")
    book.client.zadd("arq:queue", {done: 1})
    book.client.zadd("tandem:leases:llm", {done: 1})
    put(book, "email")
    answer = book.run(leases.claim_llm(worker="w", limit=100, ttl=TTL))
    assert [(entry.id, entry.queue, entry.record) for entry in answer.unknown] == [("stranger", "arq:queue", b"{}")]
    assert book.client.zscore("arq:queue", done) is None
    assert book.client.zscore("arq:queue", "orphan") is None
    answer = book.run(leases.claim_sync(worker="w", ttl=TTL))
    assert (len(answer.leases), [entry.id for entry in answer.unknown]) == (1, ["stranger"])
    book.client.hset("rq:job:stranger", "status", "queued")
    assert book.run(commands.reject(b"stranger", origin="sync", why="whose is it?", shown=True))
    assert book.client.zscore("rq:failed:sync", "stranger") == -1, "RQ's for ever"


def test_a_lock_lasts_as_long_as_its_lease(book: Book) -> None:
    put(book, "migrate")
    put(book, "migrate")
    [one], [two] = claim(book, "sync"), claim(book, "sync")
    hold = [commands.hold("migrate", job_id=lease.id, token=lease.token) for lease in (one, two)]
    assert book.run(hold[0])
    assert not book.run(hold[1])
    assert book.run(hold[0]), "its holder may ask again"
    assert int(book.client.pttl("tandem:lock:migrate")) == -1, "no volatile-* eviction may take it"  # type: ignore[arg-type]
    succeed(book, one)
    assert not book.client.exists("tandem:lock:migrate")
    assert not book.run(hold[0]), "its lease is over"
    assert book.run(hold[1])
    book.run(leases.give_up(two, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert not book.client.exists("tandem:lock:migrate")


async def test_a_full_queue_stores_nothing(async_book: AsyncBook) -> None:
    dispatcher = Dispatcher(async_book, admission=Admission(queue_max=2), idempotency_ttl=TTL)
    spec = CATALOG["chat"]
    payload = spec.input.model_validate(spec.example)
    for _ in range(2):
        await dispatcher.enqueue(spec, payload, caller=ANN, request_id="r")
    keys = await async_book.client.dbsize()
    with pytest.raises(QueueFull):
        await dispatcher.enqueue(spec, payload, caller=ANN, request_id="r")
    assert await async_book.client.dbsize() == keys


class Counting(redis.UnixDomainSocketConnection):
    """Counts what the client sends: the server's own counts include what scripts call."""

    sent = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
        Counting.sent += 1
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]  # redis-py's


def test_a_submit_is_one_round_trip(valkey: str) -> None:
    pool = redis.ConnectionPool.from_url(valkey, connection_class=Counting)
    with redis.Redis.from_pool(pool) as connection:
        book = Book(connection)
        put(book)  # connects, and loads the script
        before = Counting.sent
        put(book)
        assert Counting.sent - before == 1


def test_others_calls_pass_between_the_duties_of_the_clock(valkey: str) -> None:
    """What comes in one round trip Redis runs without a pause."""
    pool = redis.ConnectionPool.from_url(valkey, connection_class=Counting)
    with redis.Redis.from_pool(pool) as connection:
        book = Book(connection)
        assert set(tick(book).values()) == {0}  # connects, and loads the scripts
        before = Counting.sent
        duties = tick(book)
        assert Counting.sent - before == len(duties)


def test_listings_page_through_newest_first(book: Book) -> None:
    ids = [put(book, owner=owner) for owner in ("ann", "bob") for _ in range(7)]
    seen: list[str] = []
    after: listing.Position | None = listing.START
    while after:
        page = book.run(listing.page(Filter(owner="ann"), after=after, limit=3))
        seen += page.ids
        after = page.next
    mine = [job_id for job_id in ids if get(book, job_id).owner == "ann"]
    assert sorted(seen) == sorted(mine)
    assert len(seen) == 7
    created = [get(book, job_id).created_at for job_id in seen]
    assert created == sorted(created, reverse=True)


def test_a_full_page_at_the_end_has_no_next(book: Book) -> None:
    for _ in range(3):
        put(book)
    assert book.run(listing.page(Filter(), limit=3)).next is None


def test_filters(book: Book) -> None:
    chat, mail = put(book), put(book, "email")
    [lease] = claim(book)
    succeed(book, lease)
    assert book.run(listing.page(Filter(task="email"), limit=9)).ids == [mail]
    assert book.run(listing.page(Filter(queue="llm"), limit=9)).ids == [chat]
    assert book.run(listing.page(Filter(status="succeeded"), limit=9)).ids == [chat]
    assert book.run(listing.page(Filter(status="failed"), limit=9)).ids == []


def test_erasing_spares_the_unfinished(book: Book) -> None:
    done, waiting = put(book), put(book, "email")
    succeed(book, claim(book)[0])
    assert [book.run(commands.erase(job_id)) for job_id in (done, waiting, "nobody")] == [True, False, False]
    assert book.run(commands.fetch(done)) is None
    assert book.run(listing.page(Filter(), limit=9)).ids == [waiting]


def test_dead_index_entries_are_trimmed(book: Book) -> None:
    job_id = put(book)
    book.client.delete(Key.JOB + job_id)
    assert book.run(listing.trim(None, start=0, dry_run=True)) == (1, None)
    assert book.run(listing.trim("ann", start=0, dry_run=False)) == (1, None)
    assert book.run(listing.trim("ann", start=0, dry_run=False)) == (0, None)


def test_every_status_has_a_row_and_finals_end_there() -> None:
    assert set(TRANSITIONS) == set(Status)
    for status in FINAL:
        assert TRANSITIONS[status] <= {Status.QUEUED}
    assert TRANSITIONS[Status.SUCCEEDED] == frozenset()
