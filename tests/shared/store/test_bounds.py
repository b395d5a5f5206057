"""What one script does at most: everybody waits for it. Counted in commands and entries, some 3 µs each."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from ulid import ULID

from tandem.llm_worker.engine.renewals import renewals
from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Options
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, maintenance, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import ArqKey, Key, LimitKey, RqKey
from tandem.shared.store.leases import Claimed
from tandem.shared.store.queues import QueueName
from tandem.shared.store.scripts import (
    CLAIMED_BYTES,
    GROUP_CALLS,
    LEASE,
    MOVED_AT_ONCE,
    REPRIEVE,
    STEP,
    Call,
    groups_of,
)
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support import sync_lane
from tests.support.jobs import PLENTY, TTL, tick
from tests.support.jobs import put as put_in_book
from tests.support.limits.claims import Work, models, put_all
from tests.support.limits.fairness import most
from tests.support.limits.limiter_script import SECOND, Clocked

MOST = 2000  # commands
MANY = 6 * MOVED_AT_ONCE
SOON = timedelta(seconds=1)
WEBHOOK = "https://example.com/"


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def commands_of(clocked: Clocked, call: Callable[[], object]) -> int:
    clocked.client.config_resetstat()
    call()
    stats = cast("dict[str, Any]", clocked.client.info("commandstats"))
    return sum(stat["calls"] for name, stat in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_info")))


def bounded(clocked: Clocked, call: Call[Any]) -> Any:
    """Run a call; it must be short."""
    answers: list[Any] = []
    assert commands_of(clocked, lambda: answers.append(clocked.call(call))) < MOST
    return answers[0]


def claim_llm(worker: str = "w") -> leases.Claim:
    return leases.claim_llm(worker=worker, limit=25, ttl=TTL, suspects=16, idle=25)


def store(clocked: Clocked, queue: str, count: int, **options: Any) -> list[str]:
    """Submit jobs whose owner stands before `z`."""
    if queue == "sync":
        return sync_lane.put(clocked, *(sync_lane.job("a", **options) for _ in range(count)))
    wanted = Options(**options)
    jobs = [replace(Work(owner="a", model=f"m{n % 10}").job(), options=wanted) for n in range(count)]
    clocked.call_all([store_job(job, PLENTY) for job in jobs])
    return [job.id for job in jobs]


def members(clocked: Clocked, key: str) -> list[bytes]:
    return cast("list[bytes]", clocked.client.zrange(key, 0, -1))


def statuses(clocked: Clocked, ids: list[str]) -> list[str]:
    reading = clocked.client.pipeline(transaction=False)
    for job_id in ids:
        reading.hget(Key.JOB + job_id, "status")
    return [status.decode() for status in reading.execute()]


@pytest.mark.parametrize("queue", ["llm", "sync"])
@pytest.mark.parametrize("burden", ["expired", "gone"])
def test_a_claim_passes_a_bounded_number_over_and_the_next_goes_on(clocked: Clocked, queue: str, burden: str) -> None:
    ids = store(clocked, queue, MANY, expires_in=SOON, webhook_url=WEBHOOK)
    clocked.now += 2 * SECOND
    if burden == "gone":
        clocked.client.delete(*(Key.JOB + job_id for job_id in ids))
    is_sync = queue == "sync"
    good = sync_lane.put(clocked, sync_lane.job("z")) if is_sync else put_all(clocked, Work(owner="z", model="m9"))
    found: list[str] = []
    for _ in range(MANY // MOVED_AT_ONCE + 1):
        clocked.client.delete(Key.WAKEUP + queue)
        call = leases.claim_sync(worker="w", ttl=TTL) if is_sync else claim_llm()
        claimed: Claimed = bounded(clocked, call)
        found += [lease.id for lease in claimed.leases]
        goes_on = claimed.next_due == timedelta(0) or clocked.client.exists(Key.WAKEUP + queue)
        assert found or goes_on, "somebody has to go on"
    assert found == good


def test_a_claim_moves_a_bounded_number_of_scheduled_jobs_and_of_dead_workers(clocked: Clocked) -> None:
    store(clocked, "llm", MANY, delay=SOON)
    clocked.now += 2 * SECOND
    leased = 0
    while leased < MANY:
        claimed = bounded(clocked, claim_llm("dead"))
        assert claimed.leases, "it leases beside what it moves"
        leased += len(claimed.leases)
    clocked.client.zadd(Key.LEASES, dict.fromkeys(members(clocked, Key.LEASES), 1))
    claimed = bounded(clocked, claim_llm())
    assert claimed.next_due == timedelta(0)
    assert clocked.client.zcount(Key.LEASES, 1, 1) == MANY - MOVED_AT_ONCE


def test_a_claim_leases_no_more_than_some_megabytes_of_input(book: Book) -> None:
    size = CLAIMED_BYTES // 4
    for _ in range(10):
        book.run(store_job(replace(Work().job(), payload=f'"{"x" * size}"'), PLENTY))
    claimed = book.run(claim_llm())
    assert len(claimed.leases) == 4
    assert claimed.next_due == timedelta(0)
    assert book.client.exists(Key.WAKEUP + "llm"), "others may come for the rest"
    assert [len(book.run(claim_llm()).leases) for _ in range(2)] == [4, 2]


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.IDLE])
def test_submissions_that_are_one_request_are_few_enough_to_be_short(clocked: Clocked, priority: Priority) -> None:
    """Where there is most to look at: all ask a model with limits of each kind, and many owners wait for it."""
    limits = Limits(rpm=10**7, tpm=10**9, concurrency=10**6)
    clocked.client.set(LimitKey.LIMIT_MODELS, json.dumps(models(limits, m=ModelConfig(provider="p", **vars(limits)))))
    clocked.client.zadd(Key.WORKERS + "llm", {"w": clocked.now // 1000})
    put_all(clocked, *(Work(owner=f"o{n}") for n in range(100)))
    calls = [store_job(Work(owner=f"o{n}", priority=priority).job(), PLENTY) for n in range(GROUP_CALLS)]
    assert len(groups_of(calls)) == 1
    assert commands_of(clocked, lambda: clocked.call_all(calls)) < MOST // 2


@pytest.mark.parametrize("ask", ["again", "disclaim"])
@pytest.mark.parametrize("queue", ["llm", "sync"])
def test_what_a_claim_leased_is_given_back_without_a_look_at_what_others_run(
    clocked: Clocked, queue: str, ask: str
) -> None:
    cost: dict[int, int] = {}
    for others in (10, 300):
        clocked.client.flushdb()
        store(clocked, queue, others + 25)
        for _ in range(others):
            one = leases.claim_llm(worker="other", limit=1, ttl=TTL)
            clocked.call(one if queue == "llm" else leases.claim_sync(worker="other", ttl=TTL))
        call = claim_llm() if queue == "llm" else leases.claim_sync(worker="w", ttl=TTL)
        clocked.call(call)
        undo = call if ask == "again" else leases.disclaim(queue, call, worker="w")
        cost[others] = commands_of(clocked, lambda undo=undo: clocked.call(undo))  # type: ignore[misc]
    assert cost[300] <= cost[10] * 1.1


def test_places_of_dead_runs_come_back_a_bounded_number_at_a_time(clocked: Clocked) -> None:
    wide = Limits(rpm=10**7, tpm=10**9, concurrency=10**6)
    limited = models(wide, **{f"m{n}": ModelConfig(provider="p", **vars(wide)) for n in range(10)})
    ids = store(clocked, "llm", MANY + 25)
    for _ in range(MANY // 25):
        clocked.call(leases.claim_llm(worker="dead", limit=25, ttl=TTL, models=limited))
    clocked.call_all([commands.cancel(job_id, ttl=TTL) for job_id in ids if clocked.client.zscore(Key.LEASES, job_id)])
    tickets = members(clocked, LimitKey.LIMIT_CHECKS)
    assert len(tickets) >= 100
    clocked.client.zadd(LimitKey.LIMIT_CHECKS, dict.fromkeys(tickets, 0))
    bounded(clocked, leases.claim_llm(worker="w", limit=25, ttl=TTL, models=limited))
    assert clocked.client.zcount(LimitKey.LIMIT_CHECKS, 0, 0) == len(tickets) - 10


def test_many_leases_are_renewed_by_short_calls_that_tell_the_same_as_one(clocked: Clocked) -> None:
    store(clocked, "llm", 250)
    held = [lease for _ in range(10) for lease in clocked.call(claim_llm()).leases]
    stolen = [held[30], held[130], held[230]]
    for lease in stolen:
        clocked.client.hset(Key.JOB + lease.id, "token", "9")
    for _ in range(2):
        clocked.now += SECOND
        calls = renewals(held, worker="w")
        lost = [job_id for call in calls for job_id in bounded(clocked, call)]
        assert lost == [lease.id for lease in stolen]
        [worker] = clocked.call(queues.look(QueueName.LLM)).workers
        assert worker.running == [lease.id for lease in held if lease not in stolen]
    assert int(cast("bytes", clocked.client.hget(Key.METRICS, "lease_losses|llm"))) == 3, "each once"
    ends = {score for _, score in cast("list[Any]", clocked.client.zrange(Key.LEASES, 0, -1, withscores=True))}
    assert max(ends) == clocked.now // 1000 + LEASE.total_seconds() * 1000
    assert len(ends) == 2, "all but the stolen ones"


@pytest.mark.parametrize("queue", ["llm", "sync"])
def test_leases_get_their_reprieve_many_in_one_command(clocked: Clocked, queue: str) -> None:
    key = Key.LEASES if queue == "llm" else RqKey.RQ_WIP + "sync"
    now = clocked.now // SECOND
    clocked.client.zadd(key, {f"{ULID()}:1": now * 1000 if queue == "llm" else now for _ in range(5000)})
    clocked.client.set(Key.SEEN, (now - 60) * 1000)
    assert commands_of(clocked, lambda: clocked.call(leases.renew("llm", [], worker="w"))) < 100
    least = now + REPRIEVE.total_seconds()
    scores = {score for _, score in cast("list[Any]", clocked.client.zrange(key, 0, -1, withscores=True))}
    assert scores == {least * 1000 if queue == "llm" else least}


def test_scheduled_sync_jobs_move_a_bounded_number_at_a_time(clocked: Clocked) -> None:
    store(clocked, "sync", MANY, delay=SOON)
    clocked.now += 2 * SECOND
    assert bounded(clocked, maintenance.move_due()) == MOVED_AT_ONCE


def test_sync_jobs_of_dead_workers_come_back_a_bounded_number_at_a_time(clocked: Clocked) -> None:
    store(clocked, "sync", MANY)
    for _ in range(MANY):
        clocked.call(leases.claim_sync(worker="dead", ttl=TTL))
    clocked.now += 10 * SECOND
    clocked.client.set(Key.SEEN, clocked.now // 1000)
    assert bounded(clocked, maintenance.recover_expired_leases(ttl=TTL)) == MOVED_AT_ONCE


@pytest.mark.parametrize("queue", ["llm", "sync"])
def test_jobs_expire_a_bounded_number_at_a_time(clocked: Clocked, queue: str) -> None:
    ids = store(clocked, queue, MANY, expires_in=SOON, webhook_url=WEBHOOK)
    clocked.now += 2 * SECOND
    assert bounded(clocked, maintenance.expire_unstarted(ttl=TTL)) == MOVED_AT_ONCE
    assert statuses(clocked, ids).count(Status.EXPIRED) == MOVED_AT_ONCE


def test_aborts_of_plain_arq_are_heeded_a_bounded_number_at_a_time(clocked: Clocked) -> None:
    ids = store(clocked, "llm", MANY, webhook_url=WEBHOOK)
    clocked.client.zadd(ArqKey.ARQ_ABORT, dict.fromkeys(ids, 1))
    assert bounded(clocked, commands.heed_aborts(ttl=TTL)) == MOVED_AT_ONCE


def test_registries_are_trimmed_by_a_bounded_number_of_entries_in_all(clocked: Clocked) -> None:
    for key in ("rq:finished:sync", "rq:failed:sync", Key.FAILURES + "llm"):
        clocked.client.zadd(key, {str(ULID()): 1 for _ in range(1500)})
    assert [clocked.call(maintenance.trim_registries()) for _ in range(6)] == [1000, 1000, 1000, 1000, 500, 0]


def test_lists_of_dead_workers_are_looked_at_by_a_bounded_number_of_entries_in_all(clocked: Clocked) -> None:
    clocked.client.sadd(Key.ORIGINS, *(f"q{n}" for n in range(20)))
    for queue in range(20):
        clocked.client.sadd(f"{RqKey.RQ_WORKERS}:q{queue}", *(f"rq:worker:{n}" for n in range(STEP)))
    gone = 0
    for _ in range(200):
        found = bounded(clocked, maintenance.forget_dead_workers())
        assert found <= STEP
        gone, clocked.now = gone + found, clocked.now + SECOND // 2
        if gone == 20 * STEP:
            return
    raise AssertionError(f"{gone} of {20 * STEP} were found")


def test_a_step_of_the_clock_goes_on_where_there_is_more(book: Book) -> None:
    ids = [put_in_book(book, "email", delay=timedelta(milliseconds=1)) for _ in range(MANY)]
    assert tick(book)["move_due"] == MANY
    assert book.client.zcard(Key.WAITING_IN + "sync") == len(ids)


def test_runs_of_all_workers_are_told_without_taking_each_apart(book: Book) -> None:
    book.run(leases.renew("llm", [], worker="w"))
    running = [str(ULID()) for _ in range(100)]
    book.client.hset(Key.WORKER + "w", "running", " ".join(running))
    [worker] = book.run(queues.look(QueueName.LLM)).workers
    assert worker.running == running


def test_many_limits_that_are_raised_at_once_are_looked_at_in_one_step_of_the_clock(clocked: Clocked) -> None:
    owners = [f"t{n}" for n in range(600)]
    clocked.call(most(**dict.fromkeys(owners, 1)))
    put_all(clocked, *[Work(owner=owner) for owner in owners for _ in range(2)])
    while len(members(clocked, Key.ASIDE_LIMITS)) < len(owners):
        clocked.call(claim_llm())
    clocked.call(most(**dict.fromkeys(owners, 2)))
    while clocked.call(maintenance.recount_running()) >= MOVED_AT_ONCE:
        pass
    assert clocked.client.zcard(Key.ASIDE_LIMITS) == 0
