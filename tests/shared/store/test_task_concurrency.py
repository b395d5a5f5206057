"""How many jobs of a task run at once, over all owners: as many as may, and they hold up nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.limits.lanes import Lanes
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.limits.explanation import explain
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import ANN, CATALOG, FAILURE, NOTHING, PLENTY, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.fairness import told, told_of_tasks
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.limits.tasks import CAPPED, OTHER, POOLS, claim, end, make, put, served, tasks

APART = pytest.mark.parametrize("apart", [True, False], ids=["known at submission", "not known there"])


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


@POOLS
@APART
def test_a_task_s_concurrency_is_never_exceeded_and_used_fully_and_holds_up_nothing(
    clocked: Clocked, queue: str, *, apart: bool
) -> None:
    """One owner's: what waits first is of the task, and all else comes after it."""
    capped, other = CAPPED[queue], OTHER[queue]
    clocked.call(told_of_tasks(**{capped: 2}))
    put(clocked, [make(queue, capped, apart=apart) for _ in range(40)])
    put(clocked, [make(queue, other) for _ in range(60)])
    held: list[Lease] = []
    for _ in range(20):
        for _ in range(4):  # what was not known at submission is found by claims
            held += claim(clocked, queue, 8 - len(held))
        assert tasks(held) == {capped: 2, other: 6}
        assert_keyspace(clocked.client)
        clocked.now += SECOND
        for task in (capped, other):
            [ended, *_] = [lease for lease in held if lease.task == task]
            held.remove(ended)
            end(clocked, ended)
    assert_keyspace(clocked.client)


async def test_who_submits_knows_of_it_by_the_file_or_the_task(async_book: AsyncBook) -> None:
    spec, limited = CATALOG["chat"], replace(CATALOG["score"], concurrency=3)
    lanes = Lanes("m", "e", tasks=frozenset({"email"}))
    dispatcher = Dispatcher(async_book, admission=PLENTY, idempotency_ttl=TTL, lanes=lanes)
    for one, apart in ((spec, None), (limited, b"1"), (CATALOG["email"], b"1")):
        payload = one.input.model_validate(one.example)
        receipt = await dispatcher.enqueue(one, payload, caller=ANN, request_id="r")
        assert await async_book.client.hget(Key.JOB + receipt.id, "apart") == apart  # type: ignore[misc]


@POOLS
def test_while_it_has_no_room_a_claim_does_not_look_there(clocked: Clocked, queue: str) -> None:
    capped = CAPPED[queue]
    clocked.call(told_of_tasks(**{capped: 1}))
    put(clocked, [make(queue, capped, f"t{n}", apart=True) for n in range(300)])
    [held] = claim(clocked, queue, 5)
    shown = clocked.client.zcard(Key.LANE_TASKS)
    assert (shown, claim(clocked, queue, 2)) == (0, [])
    put(clocked, [make(queue, OTHER[queue], "bob")])
    assert tasks(claim(clocked, queue, 3)) == {OTHER[queue]: 1}
    assert_keyspace(clocked.client)
    end(clocked, held)
    assert tasks(claim(clocked, queue, 3)) == {capped: 1}


@POOLS
def test_why_it_waits_is_told(clocked: Clocked, queue: str) -> None:
    capped = CAPPED[queue]
    clocked.call(told_of_tasks(**{capped: 1}))
    clocked.call(leases.renew(queue, [], worker="w"))
    put(clocked, [make(queue, capped, apart=True) for _ in range(3)])
    last = make(queue, capped, apart=True)
    put(clocked, [last])
    [held] = claim(clocked, queue, 2)
    said = clocked.call(explain(last.id))
    assert (said.because, said.ahead) == ("task_concurrency", 2)
    end(clocked, held)
    assert clocked.call(explain(last.id)).because == "fair_order"


@POOLS
def test_owners_share_its_places(clocked: Clocked, queue: str) -> None:
    capped = CAPPED[queue]
    clocked.call(told_of_tasks(**{capped: 1}))
    put(clocked, [make(queue, capped, "flood", apart=True) for _ in range(200)])
    put(clocked, [make(queue, capped, "bob", apart=True) for _ in range(10)])
    assert served(clocked, queue, 20) == {"flood": 10, "bob": 10}


@POOLS
def test_a_turn_there_is_one_of_the_owner_s(clocked: Clocked, queue: str) -> None:
    """Who has jobs in both gets no more than who has in one."""
    capped, other = CAPPED[queue], OTHER[queue]
    clocked.call(told_of_tasks(**{capped: 50}))
    put(clocked, [make(queue, task, "ann", apart=task == capped) for task in (capped, other) for _ in range(100)])
    put(clocked, [make(queue, other, "bob") for _ in range(100)])
    assert served(clocked, queue, 120)["ann"] == pytest.approx(60, abs=4)


@POOLS
@APART
def test_it_is_raised_lowered_and_removed(clocked: Clocked, queue: str, *, apart: bool) -> None:
    capped = CAPPED[queue]
    put(clocked, [make(queue, capped, apart=apart) for _ in range(20)])
    held = claim(clocked, queue, 1)
    clocked.call(told_of_tasks(**{capped: 3}))
    for most in (3, 5):
        clocked.call(told_of_tasks(**{capped: most}))
        for _ in range(3):
            held += claim(clocked, queue, 4)
        assert len(held) == most
    clocked.call(told_of_tasks(**{capped: 2}))
    for _ in range(3):
        end(clocked, held.pop())
        assert claim(clocked, queue, 2) == []
    end(clocked, held.pop())
    held += claim(clocked, queue, 2)
    assert len(held) == 2
    clocked.call(told({}))
    for _ in range(20):
        held += claim(clocked, queue, 1)
    assert len(held) == 16
    assert_keyspace(clocked.client)
    for lease in held:
        end(clocked, lease)
    claim(clocked, queue, 1)
    assert_keyspace(clocked.client)
    assert not list(clocked.client.scan_iter("tandem:running:*"))


@POOLS
def test_what_is_given_back_waits_in_its_task_s_line(clocked: Clocked, queue: str) -> None:
    capped = CAPPED[queue]
    clocked.call(told_of_tasks(**{capped: 1}))
    put(clocked, [make(queue, capped), make(queue, capped), make(queue, OTHER[queue])])
    [first] = [lease for lease in claim(clocked, queue, 1) if lease.task == capped]
    for decision in (HandBack(NOTHING), RetryIn(NOTHING, FAILURE)):
        clocked.call(leases.give_up(first, decision, usage=Usage(), ttl=TTL))
        assert_keyspace(clocked.client)
        [first] = [lease for lease in claim(clocked, queue, 3) if lease.task == capped]
    for lease_id in (first.id,):
        clocked.call(commands.cancel(lease_id, ttl=TTL))
    assert_keyspace(clocked.client)
    assert tasks(claim(clocked, queue, 3))[capped] == 1


@POOLS
def test_both_limits_hold_at_once(clocked: Clocked, queue: str) -> None:
    capped, other = CAPPED[queue], OTHER[queue]
    clocked.call(told({"ann": {"concurrency": {queue: 3}}}, {capped: {"concurrency": 2}}))
    put(clocked, [make(queue, capped, owner, apart=True) for owner in ("ann", "bob") for _ in range(9)])
    put(clocked, [make(queue, other, "ann") for _ in range(9)])
    held: list[Lease] = []
    for _ in range(12):
        held += claim(clocked, queue, 6 - len(held))
        assert tasks(held)[capped] <= 2
        assert sum(lease.owner == "ann" for lease in held) <= 3
        assert_keyspace(clocked.client)
        clocked.now += SECOND
        end(clocked, held.pop(0))


@POOLS
def test_idle_jobs_of_it_come_last(clocked: Clocked, queue: str) -> None:
    capped, other = CAPPED[queue], OTHER[queue]
    clocked.call(told_of_tasks(**{capped: 2}))
    put(clocked, [make(queue, capped, apart=True, priority=Priority.IDLE) for _ in range(4)])
    put(clocked, [make(queue, other) for _ in range(2)])
    first = claim(clocked, queue, 2)
    assert tasks(first) == {other: 2}
    rest = [lease for _ in range(3) for lease in claim(clocked, queue, 2)]
    assert tasks(rest) == {capped: 2}
    assert_keyspace(clocked.client)
