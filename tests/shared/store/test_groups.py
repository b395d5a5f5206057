"""Calls of one script that are sent together are one request, and each has an answer of its own."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.submission import Admission, Idempotency, Refused, Repeated, Stored
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import leases
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import Key, LimitKey
from tandem.shared.store.leases import Success
from tandem.shared.store.queues import QueueName, look
from tandem.shared.store.scripts import GROUP_BYTES, GROUP_CALLS, groups_of
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import PLENTY, TTL, claim, get, put
from tests.support.limits.claims import Work, models
from tests.support.limits.limiter_script import Clocked

PRIORITIES = [Priority.NORMAL, Priority.HIGH, Priority.IDLE, Priority.LOW, Priority.NORMAL, Priority.HIGH]


def outcome(lease: leases.Lease, text: str = "{}") -> Any:
    return leases.succeed(lease, Success(text), usage=Usage(3, 4, 1), ttl=TTL)


def requests(book: Book) -> int:
    stats: Any = book.client.info("commandstats")
    return int(stats["cmdstat_fcall"]["calls"])


def test_neighbours_of_one_script_are_a_group() -> None:
    first, *others = (store_job(Work().job(), PLENTY) for _ in range(GROUP_CALLS + 2))
    other = leases.renew("llm", [], worker="w")
    assert [len(group) for group in groups_of([first, other, other, *others])] == [1, 1, 1, GROUP_CALLS, 1]


def test_a_group_has_so_many_bytes_of_arguments_at_most_and_a_longer_call_goes_alone() -> None:
    def sized(size: int) -> Any:
        return replace(store_job(Work().job(), PLENTY), args=["x" * size])

    half, more = GROUP_BYTES // 2, GROUP_BYTES + 1
    calls = [sized(size) for size in (half, half, 1, more, 1)]
    groups = groups_of(calls)
    assert [len(group) for group in groups] == [2, 1, 1, 1]
    assert [call for group in groups for call in group] == calls


def test_a_group_is_one_request(book: Book) -> None:
    put(book)
    before = requests(book)
    book.run_all([store_job(Work().job(), PLENTY) for _ in range(GROUP_CALLS)])
    assert requests(book) - before == 1


async def test_whoever_does_not_know_the_script_yet_gives_it_to_redis(async_book: AsyncBook, book: Book) -> None:
    for run in (async_book.run_all, book.run_all):
        book.client.function_flush()
        calls = [store_job(Work().job(), PLENTY) for _ in range(3)]
        stored = run(calls)
        outcomes = stored if isinstance(stored, list) else await stored
        assert [type(answer) for answer in outcomes] == [Stored] * 3


def test_a_queue_takes_no_more_than_it_holds_also_of_a_group(book: Book) -> None:
    for limits in (Admission(queue_max=5), Admission(queue_max=100, share=5)):
        book.client.flushdb()
        answers = book.run_all([store_job(Work().job(), limits) for _ in range(9)])
        assert [type(answer) for answer in answers] == [Stored] * 5 + [Refused] * 4
        assert book.run(look(QueueName.LLM)).waiting == 5


def test_a_key_that_repeats_within_a_group_leads_to_one_job(book: Book) -> None:
    key = Idempotency("ann:k", "print", timedelta(hours=1))
    first, second = book.run_all([store_job(Work().job(), PLENTY, key) for _ in range(2)])
    assert isinstance(first, Stored)
    assert isinstance(second, Repeated)
    assert book.run(look(QueueName.LLM)).waiting == 1


def test_a_call_that_comes_twice_in_a_group_is_one_job(book: Book) -> None:
    call = store_job(Work().job(), PLENTY)
    first, second = book.run_all([call, call])
    assert isinstance(first, Stored)
    assert first.created_at == getattr(second, "created_at", None)
    assert book.run(look(QueueName.LLM)).waiting == 1


def test_outcomes_of_a_group_count_as_they_do_one_by_one(book: Book) -> None:
    def counted(*, together: bool) -> Any:
        book.client.flushdb()
        for _ in range(6):
            put(book)
        held = claim(book)
        calls = [outcome(lease) for lease in held[:4]] + [outcome(replace(held[4], token="0"))]
        answers = book.run_all(calls) if together else [book.run(call) for call in calls]
        metrics: Any = book.client.hgetall(Key.METRICS)
        timed = {name for name in metrics if b"|sum" in name or name.startswith((b"run|", b"wait|"))}
        plain = {name: value for name, value in metrics.items() if name not in timed}
        state = book.run(look(QueueName.LLM))
        statuses = Counter(get(book, lease.id).status for lease in held)
        return answers, plain, state.running, statuses, book.client.zcard(Key.LEASES), state.rate_per_minute > 0

    assert counted(together=True) == counted(together=False)
    assert counted(together=True)[0] == [True] * 4 + [False]


def test_one_that_fails_is_none_of_its_neighbours_business(book: Book) -> None:
    ids = [put(book) for _ in range(3)]
    held = {str(lease.id): lease for lease in claim(book)}
    book.client.delete(Key.JOB + ids[1])
    book.client.set(Key.JOB + ids[1], "no hash")
    outcomes = book.attempt_all([outcome(held[job_id]) for job_id in ids])
    assert [outcomes[0], outcomes[2]] == [True, True]
    assert outcomes[1] is False or isinstance(outcomes[1], ResponseError)
    assert [get(book, job_id).status for job_id in (ids[0], ids[2])] == [Status.SUCCEEDED] * 2


def test_a_script_error_in_a_group_is_an_error_of_that_call(book: Book) -> None:
    spoilt = Work(owner="bob").job()
    book.client.set(Key.INDEX + ":bob", "no set")
    calls = [store_job(job, PLENTY) for job in (Work().job(), spoilt, Work().job())]
    first, second, third = book.attempt_all(calls)
    assert isinstance(first, Stored)
    assert isinstance(second, ResponseError)
    assert "WRONGTYPE" in str(second)
    assert isinstance(third, Stored)


def test_in_a_full_memory_outcomes_go_on_and_submissions_are_refused(book: Book) -> None:
    for _ in range(3):
        put(book)
    held = claim(book)
    book.run_all([store_job(Work().job(), PLENTY) for _ in range(2)])  # Redis knows the scripts
    book.run_all([outcome(replace(lease, token="0")) for lease in held])
    waiting = book.run(look(QueueName.LLM)).waiting
    book.client.config_set("maxmemory", 1)
    try:
        refused = book.attempt_all([store_job(Work().job(), PLENTY) for _ in range(3)])
        ended = book.attempt_all([outcome(lease) for lease in held])
    finally:
        book.client.config_set("maxmemory", 0)
    assert [type(answer) for answer in refused] == [StoreUnavailable] * 3
    assert ended == [True] * 3
    assert book.run(look(QueueName.LLM)).waiting == waiting


def test_a_group_that_comes_again_as_its_answer_got_lost_changes_nothing_more(book: Book) -> None:
    stored = [store_job(Work().job(), PLENTY) for _ in range(3)]
    first, again = ([getattr(answer, "created_at", None) for answer in book.run_all(stored)] for _ in range(2))
    assert first == again
    ended = [outcome(lease) for lease in claim(book)]
    assert book.run_all(ended) == book.run_all(ended) == [True] * 3
    state = book.run(look(QueueName.LLM))
    assert (state.waiting, state.running) == (0, 0)
    metrics: Any = book.client.hgetall(Key.METRICS)
    assert [int(value) for name, value in metrics.items() if name.startswith(b"jobs|")] == [3]


@pytest.mark.parametrize("limits", [Limits(), Limits(rpm=60), Limits(tpm=6000, concurrency=3)])
@pytest.mark.parametrize("many", [True, False], ids=["tenants", "one tenant"])
def test_submissions_of_a_group_are_told_what_they_are_told_one_by_one(
    valkey: str, limits: Limits, *, many: bool
) -> None:
    def told(*, together: bool) -> Any:
        with client(valkey) as connection:
            connection.flushdb()
            clocked = Clocked(connection)
            connection.set(LimitKey.LIMIT_MODELS, json.dumps(models(limits)))
            connection.zadd(Key.WORKERS + "llm", {"w": clocked.now // 1000})
            connection.set(f"{Key.RATE}llm:{clocked.now // 10_000_000}", 50)
            jobs = [
                Work(owner=f"o{i % 3 if many else 0}", tokens=100, priority=p).job()
                for i, p in enumerate(2 * PRIORITIES)
            ]
            calls = [store_job(job, Admission(queue_max=11, share=8, rpm=60)) for job in jobs]
            answers = clocked.call_all(calls) if together else [clocked.call(call) for call in calls]
            return answers, {name: connection.zcard(name) for name in connection.keys(Key.LANE_JOBS + "*")}

    assert told(together=True) == told(together=False)
    answers, _ = told(together=True)
    assert len({answer.estimated_start for answer in answers if isinstance(answer, Stored)}) > 1


def test_one_spoilt_key_keeps_nothing_from_being_written_to_the_others(book: Book) -> None:
    ids = [put(book) for _ in range(3)]
    held = claim(book)
    book.client.delete(Key.BY_STATUS + "running")
    book.client.set(Key.BY_STATUS + "running", "no set")
    outcomes = book.attempt_all([outcome(lease) for lease in held])
    assert [type(answer) for answer in outcomes] == [ResponseError] * 3, "none is told that all is well"
    assert book.client.zcard(Key.LEASES) == 0
    assert [get(book, job_id).status for job_id in ids] == [Status.SUCCEEDED] * 3
