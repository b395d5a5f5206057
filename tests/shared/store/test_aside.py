"""Who stands aside for a limit comes back as it was, and lanes of tasks beside an empty one are looked at."""

from collections.abc import Iterator
from typing import Any

import pytest

from tandem.shared.limits.fairness import TASK
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.keys import Key
from tandem.shared.store.limits.fairness import Row, set_fairness
from tandem.shared.store.maintenance import recover_lost
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Work, put_all, succeeded, take
from tests.support.limits.fairness import most, told, told_of_tasks
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.limits.tasks import CAPPED, OTHER, POOLS, claim, end, make, put, served, tasks


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def tag(clocked: Clocked) -> float:
    score: Any = clocked.client.zscore(Key.LANE_TENANTS + "m", "ann")
    return float(score)


def test_who_has_got_much_back_stands_aside_as_others_do(clocked: Clocked) -> None:
    """Its tag is less than nothing: what it used before was less than it was charged, and time began anew meanwhile."""
    put_all(clocked, *[Work(tokens=300)] * 5)
    held = take(clocked, 5)
    assert take(clocked, 1) == []
    put_all(clocked, *[Work(tokens=300)] * 9)
    for lease in held:
        clocked.call(succeeded(lease, 10))
    assert tag(clocked) < -300
    clocked.call(most(ann=1))
    for _ in range(5):
        [lease] = take(clocked, 3)
        assert take(clocked, 3) == []
        assert_keyspace(clocked.client)
        clocked.call(succeeded(lease, 10))
        assert tag(clocked) < 10_000
    put_all(clocked, *[Work(owner="bob")] * 5)
    assert sum(lease.owner == "bob" for lease in take(clocked, 9)) == 5
    time: Any = clocked.client.hget(Key.LANE_TIME, "m")
    assert float(time) < 10_000


@POOLS
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.NORMAL, Priority.IDLE])
def test_who_has_jobs_of_two_tasks_and_no_others_is_served(clocked: Clocked, queue: str, priority: Priority) -> None:
    both = (CAPPED[queue], OTHER[queue])
    clocked.call(told_of_tasks(**dict.fromkeys(both, 9)))
    put(clocked, [make(queue, task, apart=True, priority=priority) for task in both for _ in range(3)])
    assert tasks(claim(clocked, queue, 6)) == dict.fromkeys(both, 3)
    assert_keyspace(clocked.client)


@POOLS
def test_who_has_jobs_of_many_tasks_has_no_more_turns(clocked: Clocked, queue: str) -> None:
    several = [CAPPED[queue], OTHER[queue], "score", "cleanup"]
    clocked.call(told_of_tasks(**dict.fromkeys(several, 50)))
    put(clocked, [make(queue, task, apart=True) for task in several for _ in range(40)])
    put(clocked, [make(queue, several[0], "bob", apart=True) for _ in range(60)])
    assert served(clocked, queue, 80)["ann"] == pytest.approx(40, abs=4)
    put(clocked, [make(queue, several[1], "zoe", apart=True)])
    while held := claim(clocked, queue, 5):
        for lease in held:
            end(clocked, lease)
    claim(clocked, queue, 5)
    claim(clocked, queue, 5)
    assert not list(clocked.client.scan_iter(Key.LANE_TURNS + "*"))
    assert_keyspace(clocked.client)


@POOLS
def test_a_flood_of_one_task_s_high_jobs_starves_no_low_ones_of_another(clocked: Clocked, queue: str) -> None:
    flood, other = CAPPED[queue], OTHER[queue]
    clocked.call(told_of_tasks(**{flood: 9, other: 9}))
    put(clocked, [make(queue, flood, apart=True, priority=Priority.HIGH) for _ in range(80)])
    put(clocked, [make(queue, other, apart=True, priority=Priority.LOW) for _ in range(20)])
    served = []
    for _ in range(80):
        [lease] = claim(clocked, queue, 1)
        served.append(lease)
        clocked.now += SECOND
        end(clocked, lease)
    assert 2 <= tasks(served)[other] <= 6


def test_sync_workers_go_on_where_more_stand_aside_than_one_call_moves(clocked: Clocked) -> None:
    """In a task's lane, beside a lane in which nobody waits: a worker that has found nothing is woken at once."""
    owners = [f"t{n}" for n in range(150)]
    clocked.call(told({name: {"concurrency": {"sync": 1}} for name in owners}, {"report": {"concurrency": 999}}))
    for name in owners:
        put(clocked, [make("sync", "email", name)])
    assert len(claim(clocked, "sync", len(owners) + 5)) == len(owners)
    put(clocked, [make("sync", "report", name, apart=True) for name in [*owners, "zoe"]])
    clocked.client.delete(Key.WAKEUP + "sync")
    assert claim(clocked, "sync", 1) == []
    assert clocked.client.exists(Key.WAKEUP + "sync")
    assert [lease.owner for lease in claim(clocked, "sync", 1)] == ["zoe"]
    assert_keyspace(clocked.client)


@POOLS
@pytest.mark.parametrize("apart", [False, True])
def test_who_stands_aside_for_nothing_that_is_known_comes_back(clocked: Clocked, queue: str, *, apart: bool) -> None:
    """Whom its limit knows, somebody has deleted: the search for lost jobs finds it."""
    clocked.call(told({"ann": {"concurrency": {queue: 1}}}, {CAPPED[queue]: {"concurrency": 9}}))
    put(clocked, [make(queue, CAPPED[queue], apart=apart) for _ in range(3)])
    [held] = claim(clocked, queue, 2)
    clocked.call(recover_lost(ttl=TTL, looks=50))
    assert clocked.client.exists(f"{Key.ASIDE_FOR}{queue}:ann"), "it stands aside as it did"
    assert_keyspace(clocked.client)
    clocked.client.delete(f"{Key.ASIDE_FOR}{queue}:ann", Key.ASIDE_LIMITS)
    end(clocked, held)
    assert claim(clocked, queue, 2) == []
    clocked.call(recover_lost(ttl=TTL, looks=50))
    assert len(claim(clocked, queue, 2)) == 1
    assert_keyspace(clocked.client)


@POOLS
def test_workers_of_an_older_version_leave_no_lane_where_everybody_stands_aside(clocked: Clocked, queue: str) -> None:
    """They serve who stands aside, at its tag: it is the lane's time then."""
    clocked.call(told({"ann": {"concurrency": {queue: 1}}}))
    lane = {"llm": "m", "sync": "~sync"}[queue]
    put(clocked, [make(queue, OTHER[queue]) for _ in range(3)])
    [held] = claim(clocked, queue, 2)
    clocked.client.hset(Key.LANE_TIME, lane, "1125899906842924.000")
    put(clocked, [make(queue, OTHER[queue], "bob") for _ in range(3)])
    assert [lease.owner for lease in claim(clocked, queue, 2)] == ["bob", "bob"]
    end(clocked, held)
    assert sorted(lease.owner for lease in claim(clocked, queue, 5)) == ["ann", "bob"]
    assert_keyspace(clocked.client)


@POOLS
def test_of_more_tasks_than_a_claim_looks_at_none_waits_for_ever(clocked: Clocked, queue: str) -> None:
    names = [f"task{n}" for n in range(150)]
    limits = [Row(TASK + name, 2) for name in names]
    clocked.call(set_fairness(digest="many", process_began=None, rows=limits))
    for name in names * 4:
        put(clocked, [make(queue, name, apart=True)])
        clocked.now += SECOND // 1000
    begun = set[str]()
    for _ in range(300):
        [lease] = claim(clocked, queue, 1)
        begun.add(lease.task)
        clocked.now += SECOND // 100
        end(clocked, lease)
    assert begun == set(names)
