"""What owners pay for in the forking pool: the time that their runs take, however they end."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, maintenance
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tests.support.jobs import NOTHING, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.sync_lane import adopt_and_take, claimed, enqueue, job, put, run, succeed, take


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def test_owners_share_the_time_and_not_the_number_of_jobs(clocked: Clocked) -> None:
    """Both submit the same task, so that what they pay in advance is the same."""
    lasts = {"ann": 9.0, "bob": 1.0}
    put(clocked, *[job(owner) for owner in lasts for _ in range(300)])
    time: Counter[str] = Counter()
    for _ in range(200):
        lease = take(clocked)
        clocked.now += round(lasts[lease.owner] * SECOND)
        succeed(clocked, lease)
        time[lease.owner] += round(lasts[lease.owner])
    assert time["ann"] == pytest.approx(time["bob"], rel=0.05)


def test_who_waits_for_nothing_else_pays_for_a_long_run_all_the_same(clocked: Clocked) -> None:
    put(clocked, *[job("bob") for _ in range(120)])
    run(clocked, 1.0)
    put(clocked, job("ann"))
    [long] = [lease for lease in (take(clocked), take(clocked)) if lease.owner == "ann"]
    for _ in range(50):
        assert run(clocked, 1.0).owner == "bob"
    succeed(clocked, long)
    put(clocked, *[job("ann") for _ in range(5)])
    assert [run(clocked, 1.0).owner for _ in range(48)] == ["bob"] * 48
    assert "ann" in [run(clocked, 1.0).owner for _ in range(4)]


@pytest.mark.parametrize("queue", [None, "default"])
def test_a_debt_goes_with_the_others_who_wait(clocked: Clocked, queue: str | None) -> None:
    if queue:
        enqueue(clocked, queue, 1)
    else:
        put(clocked, job("ann"))
    long = adopt_and_take(clocked, *[queue] if queue else [])
    put(clocked, *[job("bob") for _ in range(5)])
    clocked.now += 50 * SECOND
    run(clocked, 1.0)
    succeed(clocked, long)
    assert cast("int", clocked.client.zcard(Key.LANE_TENANTS + "~sync")) == 2
    assert {run(clocked, 1.0).owner for _ in range(4)} == {"bob"}
    assert claimed(clocked).leases == []
    assert not list(clocked.client.scan_iter("tandem:lane*"))
    assert_keyspace(clocked.client)


def test_a_claim_pays_in_advance_what_the_task_has_lasted(clocked: Clocked) -> None:
    """Else several workers at once would give one owner as many long runs as another one short ones."""
    put(clocked, *[job("ann", task="report") for _ in range(40)], *[job("bob") for _ in range(60)])
    for _ in range(20):
        lease = take(clocked)
        clocked.now += (8 if lease.task == "report" else 1) * SECOND
        succeed(clocked, lease)
    at_once = Counter(take(clocked).task for _ in range(27))
    assert at_once == {"report": pytest.approx(3, abs=1), "email": pytest.approx(24, abs=1)}


def test_a_claim_that_was_never_heard_of_costs_its_owner_nothing(clocked: Clocked) -> None:
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(5)])
    run(clocked)
    before = dict(cast("Any", clocked.client.zrange(Key.LANE_TENANTS + "~sync", 0, -1, withscores=True)))
    call = leases.claim_sync(worker="w", ttl=TTL)
    [lost] = clocked.call(call).leases
    clocked.call(leases.disclaim("sync", call, worker="w"))
    after = dict(cast("Any", clocked.client.zrange(Key.LANE_TENANTS + "~sync", 0, -1, withscores=True)))
    assert after[lost.owner.encode()] == before[lost.owner.encode()]


def cancel(clocked: Clocked, held: Lease, then: str) -> None:
    """Cancel a run, and retry or erase its job before the run has said that it ended."""
    clocked.call(commands.cancel(held.id, ttl=TTL))
    if then == "retry":
        clocked.call(commands.retry(held.id))
    if then == "erase":
        clocked.call(commands.erase(held.id))
    clocked.call(leases.give_up(held, HandBack(NOTHING), usage=Usage(), ttl=TTL))


THEN = pytest.mark.parametrize("then", ["nothing", "retry", "erase"])


@THEN
def test_a_cancelled_run_is_paid_for(clocked: Clocked, then: str) -> None:
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(30)])
    held = take(clocked)
    clocked.now += 20 * SECOND
    cancel(clocked, held, then)
    assert held.owner not in [run(clocked, 1.0).owner for _ in range(19)]
    assert held.owner in [run(clocked, 1.0).owner for _ in range(3)]


@THEN
def test_a_cancelled_run_is_paid_for_by_what_it_took(clocked: Clocked, then: str) -> None:
    clocked.client.hset(Key.DURATIONS, "email", "300000")
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(30)])
    held = take(clocked)
    clocked.now += SECOND
    cancel(clocked, held, then)
    clocked.client.hset(Key.DURATIONS, "email", "1000")
    assert Counter(run(clocked, 1.0).owner for _ in range(20))[held.owner] >= 9


def test_who_cancels_again_and_again_gets_no_more_turns(clocked: Clocked) -> None:
    clocked.client.hset(Key.DURATIONS, "email", "300")
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(40)])
    served = Counter[str]()
    for _ in range(40):
        lease = take(clocked)
        served[lease.owner] += 1
        clocked.now += SECOND // 1000 if lease.owner == "ann" else SECOND * 3 // 10
        if lease.owner == "ann":
            cancel(clocked, lease, "nothing")
        else:
            succeed(clocked, lease)
    assert served["bob"] == pytest.approx(20, abs=1)


def lose(clocked: Clocked, lease: Lease, seconds: int) -> None:
    """Let the worker of a run die after so long; others go on."""
    for _ in range(seconds):
        clocked.now += SECOND
        assert clocked.call(leases.renew("sync", [lease], worker="w")) == []
    while not clocked.call(maintenance.recover_expired_leases(ttl=TTL)):
        clocked.now += SECOND
        clocked.call(leases.renew("sync", [], worker="another"))


def test_a_run_whose_worker_dies_is_paid_for(clocked: Clocked) -> None:
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(40)])
    held = take(clocked)
    lose(clocked, held, 30)
    assert_keyspace(clocked.client)
    assert held.owner not in [run(clocked, 1.0).owner for _ in range(29)]
    assert held.owner in [run(clocked, 1.0).owner for _ in range(5)]


def test_a_run_that_is_lost_while_redis_is_away_costs_what_was_paid_for_it(clocked: Clocked) -> None:
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(20)])
    clocked.call(leases.renew("sync", [], worker="another"))
    held = take(clocked)
    clocked.call(leases.renew("sync", [held], worker="w"))
    clocked.now += 900 * SECOND
    lose(clocked, held, 0)
    assert Counter(run(clocked, 1.0).owner for _ in range(20))[held.owner] >= 9


def test_a_newcomer_is_not_before_all_where_nobody_serves_a_queue_of_plain_rq_any_more(clocked: Clocked) -> None:
    enqueue(clocked, "default", 2)
    adopt_and_take(clocked, "default")
    put(clocked, *[job("bob") for _ in range(60)])
    for _ in range(30):
        assert run(clocked, 10.0).owner == "bob"
    put(clocked, *[job("ann") for _ in range(30)])
    assert Counter(str(run(clocked, 10.0).owner) for _ in range(20))["ann"] == pytest.approx(10, abs=1)
