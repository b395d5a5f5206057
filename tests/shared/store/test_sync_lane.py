"""Who is served next in the forking pool: owners by the time that their runs take, priorities within an owner."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, maintenance
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Claimed
from tandem.shared.store.scripts import LEASE
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import NOTHING, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.sync_lane import adopt_and_take, claimed, enqueue, job, put, run, succeed, take

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW
RQ = ("default", "invoices")


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def test_a_flood_of_one_owner_holds_no_other_up(clocked: Clocked) -> None:
    put(clocked, *[job("flood", HIGH) for _ in range(2000)])
    for _ in range(20):
        run(clocked)
    [bobs] = put(clocked, job("bob", LOW))
    assert bobs in [run(clocked).id for _ in range(2)]
    assert_keyspace(clocked.client)


def test_a_lone_owner_has_every_turn(clocked: Clocked) -> None:
    ids = []
    for _ in range(30):
        ids += put(clocked, job("ann"))
        clocked.now += SECOND // 1000
    assert [run(clocked).id for _ in range(30)] == ids
    assert claimed(clocked).leases == []
    assert not list(clocked.client.scan_iter("tandem:lane*"))


def test_a_newcomer_is_neither_behind_nor_for_long_before_those_who_wait(clocked: Clocked) -> None:
    put(clocked, *[job("ann") for _ in range(200)])
    for _ in range(50):
        run(clocked)
    put(clocked, *[job("bob") for _ in range(100)])
    served = Counter(str(run(clocked).owner) for _ in range(60))
    assert served["bob"] == pytest.approx(30, abs=1)


@pytest.mark.parametrize("others", [0, 3, 88])
def test_priorities_share_an_owners_turns_whoever_else_waits(clocked: Clocked, others: int) -> None:
    turns = 60 if others > 10 else 200
    put(clocked, *[job("ann", priority) for priority in (HIGH, NORMAL, LOW) for _ in range(turns)])
    put(clocked, *[job(f"other{n}") for n in range(others) for _ in range(turns + 20)])
    held = [run(clocked) for _ in range(turns * (others + 1))]
    mine = [cast("Any", clocked.client.hget(Key.JOB + lease.id, "priority")) for lease in held if lease.owner == "ann"]
    counted = Counter(priority.decode() for priority in mine)
    assert counted.total() == pytest.approx(turns, abs=3)
    assert counted[HIGH] == pytest.approx(0.8 * turns, abs=0.05 * turns)
    assert counted[NORMAL] == pytest.approx(0.15 * turns, abs=0.04 * turns)
    assert counted[LOW] == pytest.approx(0.05 * turns, abs=0.02 * turns)


def test_what_was_handed_back_goes_before_its_owners_other_jobs(clocked: Clocked) -> None:
    put(clocked, job("ann", LOW))
    held = take(clocked)
    put(clocked, *[job(owner, HIGH) for owner in ("ann", "bob") for _ in range(50)])
    clocked.call(leases.give_up(held, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert_keyspace(clocked.client)
    [again] = [lease for lease in (take(clocked), take(clocked)) if lease.owner == "ann"]
    assert (again.id, again.attempt) == (held.id, 1)


def set_clock_back(clocked: Clocked) -> None:
    clocked.call(leases.renew("sync", [], worker="w"))
    clocked.now -= 3600 * SECOND
    clocked.call(leases.renew("sync", [], worker="w"))


def test_who_waits_when_the_clock_goes_back_goes_before_who_comes_then(clocked: Clocked) -> None:
    before = put(clocked, *[job("ann") for _ in range(3)])
    set_clock_back(clocked)
    served = []
    for _ in range(5):
        put(clocked, job("ann"))
        served.append(run(clocked).id)
    assert sorted(served[:3]) == sorted(before)


def test_what_is_not_adopted_when_the_clock_goes_back_is_not_lost_for_so_long(clocked: Clocked) -> None:
    ids = enqueue(clocked, "default", 3)
    assert len(claimed(clocked, "default").unknown) == 3
    set_clock_back(clocked)
    clocked.now += LEASE // timedelta(microseconds=1)
    clocked.call(maintenance.return_unadopted())
    assert sorted(adopt_and_take(clocked, "default").id for _ in range(3)) == sorted(ids)


def test_a_scheduled_job_waits_in_its_lane_once_it_is_due(clocked: Clocked) -> None:
    [later] = put(clocked, job("bob", delay=timedelta(seconds=5)))
    put(clocked, *[job("ann") for _ in range(20)])
    assert {run(clocked).owner for _ in range(5)} == {"ann"}
    clocked.now += 5 * SECOND
    assert clocked.call(maintenance.move_due()) == 1
    assert later in [run(clocked).id for _ in range(2)]
    assert_keyspace(clocked.client)


def test_idle_jobs_come_after_everybodys_others_and_owners_take_turns_with_them(clocked: Clocked) -> None:
    idle = put(clocked, *[job(owner, Priority.IDLE) for owner in ("ann", "bob") for _ in range(4)])
    put(clocked, *[job("cy", priority) for priority in (HIGH, NORMAL, LOW) for _ in range(4)])
    assert {run(clocked).owner for _ in range(12)} == {"cy"}
    last = [run(clocked) for _ in range(8)]
    assert sorted(lease.id for lease in last) == sorted(idle)
    assert Counter(lease.owner for lease in last[:4]) == {"ann": 2, "bob": 2}
    assert_keyspace(clocked.client)


# --- jobs of plain RQ


def test_each_queue_of_plain_rq_takes_turns_beside_owners(clocked: Clocked) -> None:
    for queue in RQ:
        enqueue(clocked, queue, 100)
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(100)])
    turns: Counter[str] = Counter()
    for _ in range(80):
        lease = adopt_and_take(clocked, *RQ)
        origin = cast("Any", clocked.client.hget(Key.JOB + lease.id, "origin"))
        turns[origin.decode() if origin else lease.owner] += 1
        clocked.now += SECOND
        succeed(clocked, lease)
    assert {name: pytest.approx(20, abs=3) for name in (*RQ, "ann", "bob")} == turns
    assert cast("int", clocked.client.llen("rq:queue:default")) >= 70, "what is not next stays with RQ"
    assert_keyspace(clocked.client)


def test_plain_rq_is_served_in_its_order_and_alone_too(clocked: Clocked) -> None:
    ids = enqueue(clocked, "default", 30)
    assert [adopt_and_take(clocked, "default").id for _ in range(30)] == ids


def test_what_is_refused_holds_nobody_up(clocked: Clocked) -> None:
    strange = enqueue(clocked, "default", 200)
    put(clocked, *[job("ann") for _ in range(10)])
    for _ in range(10):
        found = claimed(clocked, "default")
        assert len(found.leases) == 1
        for entry in found.unknown:
            clocked.call(commands.reject(entry.raw, origin="default", why="no", shown=True))
    left = cast("Any", clocked.client.lrange("rq:queue:default", 0, -1))
    assert [entry.decode() for entry in left] == strange[-len(left) :]


def test_a_worker_leaves_queues_that_it_does_not_serve_to_others(clocked: Clocked) -> None:
    enqueue(clocked, "default", 3)
    first = adopt_and_take(clocked, "default")
    clocked.call(leases.give_up(first, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert claimed(clocked, worker="another").leases == []
    put(clocked, *[job("ann") for _ in range(30)])
    for _ in range(10):
        assert run(clocked, 1.0).owner == "ann"
    again = [adopt_and_take(clocked, "default") for _ in range(4)]
    assert first.id in [lease.id for lease in again]
    assert "ann" in [lease.owner for lease in again], "who was not served for a while has saved up no turns"


def test_a_worker_leaves_the_bell_to_those_who_serve_what_waits(clocked: Clocked) -> None:
    enqueue(clocked, "default", 1)
    held = adopt_and_take(clocked, "default")
    clocked.call(leases.give_up(held, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert claimed(clocked, worker="another").leases == []
    assert clocked.client.exists(Key.WAKEUP + "sync")
    run_again = claimed(clocked, "default").leases
    assert [lease.id for lease in run_again] == [held.id]
    assert claimed(clocked, "default").leases == []
    assert not clocked.client.exists(Key.WAKEUP + "sync")


def test_what_an_older_version_enqueued_is_taken_in(clocked: Clocked) -> None:
    ids = put(clocked, *[job(owner, priority) for owner in ("ann", "bob") for priority in (HIGH, NORMAL, LOW)])
    for key in [*clocked.client.scan_iter("tandem:lane*"), *clocked.client.scan_iter("tandem:waiting:*")]:
        clocked.client.delete(key)
    names = ("sync-high", "sync", "sync-low")
    for n, job_id in enumerate(ids):
        clocked.client.rpush(f"rq:queue:{names[n % 3]}", job_id)
        clocked.client.rpush("rq:queue:sync", job_id)  # and once more, where it does not belong
    served = [run(clocked).id for _ in ids]
    assert sorted(served) == sorted(ids)
    assert claimed(clocked) == Claimed([], [])
    assert not list(clocked.client.scan_iter("rq:queue:*"))
    assert_keyspace(clocked.client)


def commands_of_a_claim(clocked: Clocked, *, owners: int, jobs: int) -> int:
    clocked.client.flushall()
    put(clocked, *[job(f"t{n % owners}") for n in range(jobs)])
    for _ in range(3):
        run(clocked)
    return commands_of(clocked, lambda: take(clocked))


def commands_of(clocked: Clocked, call: Callable[[], object]) -> int:
    clocked.client.config_resetstat()
    call()
    stats = cast("dict[str, Any]", clocked.client.info("commandstats"))
    return sum(stat["calls"] for name, stat in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_info")))


def test_a_claim_costs_the_same_however_many_wait(clocked: Clocked) -> None:
    least = commands_of_a_claim(clocked, owners=10, jobs=20)
    assert commands_of_a_claim(clocked, owners=10, jobs=2000) <= least * 1.1
    assert commands_of_a_claim(clocked, owners=2000, jobs=2000) <= least * 1.1


def test_owners_who_wait_for_nothing_any_more_are_passed_over_a_hundred_a_claim(clocked: Clocked) -> None:
    stale = put(clocked, *[job(f"t{n}") for n in range(1500)])
    clocked.call_all([commands.cancel(one, ttl=TTL) for one in stale])
    [last] = put(clocked, job("z"))
    found: list[str] = []
    for _ in range(16):
        clocked.client.delete(Key.WAKEUP + "sync")
        assert commands_of(clocked, lambda: found.extend(one.id for one in claimed(clocked).leases)) < 2500
        assert found or clocked.client.exists(Key.WAKEUP + "sync"), "somebody has to go on"
    assert found == [last]
    assert not list(clocked.client.scan_iter("tandem:lane*"))
