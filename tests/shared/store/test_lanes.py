"""Who is claimed next: lanes by model, tenants by what they use, priorities within a tenant, handed back first."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import leases
from tandem.shared.store.commands import cancel, erase, retry
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import NO_MODELS, Lease
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import NOTHING, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Work, claim, models, put_all, succeeded, take, turns
from tests.support.limits.limiter_script import SECOND, Clocked

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def hand_back(clocked: Clocked, *held: Lease) -> None:
    for lease in held:
        clocked.call(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_flood_of_one_tenant_holds_no_other_up(clocked: Clocked, limit: int) -> None:
    put_all(clocked, *[Work(owner="flood")] * 1500)
    for _ in range(20):
        take(clocked, limit)
    [job] = put_all(clocked, Work(owner="bob"))
    soon = [lease.id for _ in range(3) for lease in take(clocked)]
    assert job in soon


def test_tenants_share_tokens_whatever_the_size_of_their_jobs(clocked: Clocked) -> None:
    sizes = {"ann": 100, "bob": 700, "cy": 2500}
    for owner, tokens in sizes.items():
        put_all(clocked, *[Work(owner=owner, tokens=tokens)] * (110_000 // tokens))
    served: Counter[str] = Counter()
    while served.total() < 240_000:
        held = take(clocked, 7)
        served.update({owner: sizes[owner] * n for owner, n in Counter(lease.owner for lease in held).items()})
        clocked.call_all([succeeded(lease, sizes[lease.owner]) for lease in held])
    for owner in sizes:
        assert served[owner] == pytest.approx(served.total() / 3, rel=0.05)


def test_tenants_pay_for_what_their_jobs_really_used(clocked: Clocked) -> None:
    used = {"ann": 100, "bob": 1000}  # by forecast both need the same
    for owner in used:
        put_all(clocked, *[Work(owner=owner, tokens=1000)] * 400)
    ended: Counter[str] = Counter()
    for _ in range(330):
        [lease] = take(clocked)
        ended[lease.owner] += 1
        clocked.call(succeeded(lease, used[lease.owner]))
    assert ended["ann"] / ended["bob"] == pytest.approx(10, rel=0.05)


def test_who_waits_for_nothing_else_pays_for_a_dear_job_all_the_same(clocked: Clocked) -> None:
    put_all(clocked, Work(owner="ann", tokens=100), *[Work(owner="bob", tokens=100)] * 70)
    [dear] = [lease for lease in take(clocked, 2) if lease.owner == "ann"]
    take(clocked, 5)
    clocked.call(succeeded(dear, 3100))
    assert_keyspace(clocked.client)
    put_all(clocked, *[Work(owner="ann", tokens=100)] * 3)
    assert {lease.owner for lease in take(clocked, 29)} == {"bob"}
    assert "ann" in {lease.owner for lease in take(clocked, 4)}


def test_a_debt_goes_with_the_others_who_wait(clocked: Clocked) -> None:
    put_all(clocked, Work(owner="ann"), *[Work(owner="bob")] * 5)
    held = take(clocked, 5)
    [dear] = [lease for lease in held if lease.owner == "ann"]
    clocked.client.delete(Key.LANES)  # as an operator may
    clocked.call(succeeded(dear, 5000))
    assert_keyspace(clocked.client)
    put_all(clocked, Work(owner="bob", model="other"))
    assert len(take(clocked, 10)) == 2
    take(clocked, 10)
    assert not list(clocked.client.scan_iter("tandem:lane*"))


def test_a_newcomer_is_neither_behind_nor_for_long_before_those_who_wait(clocked: Clocked) -> None:
    put_all(clocked, *[Work(owner="ann", tokens=100)] * 300)
    for _ in range(10):
        take(clocked, 10)
    put_all(clocked, *[Work(owner="bob", tokens=100)] * 100)
    assert Counter(lease.owner for lease in take(clocked, 100)) == {"ann": 50, "bob": 50}


@pytest.mark.parametrize("others", [0, 1, 2, 4, 88])
def test_priorities_share_a_tenants_turns_whoever_else_waits(clocked: Clocked, others: int) -> None:
    turns = 100 if others > 10 else 200
    put_all(clocked, *[Work(priority=priority) for priority in Priority for _ in range(turns)])
    put_all(clocked, *[Work(owner=f"other{n}") for n in range(others) for _ in range(turns + 20)])
    held: list[Lease] = []
    while len(held) < turns * (others + 1):
        held += take(clocked, 9)
    mine = [cast("Any", clocked.client.hget(Key.JOB + lease.id, "priority")) for lease in held if lease.owner == "ann"]
    counted = Counter(priority.decode() for priority in mine)
    assert counted.total() == pytest.approx(turns, abs=9)
    assert counted[HIGH] == pytest.approx(0.8 * turns, abs=0.05 * turns)
    assert counted[NORMAL] == pytest.approx(0.15 * turns, abs=0.04 * turns)
    assert counted[LOW] == pytest.approx(0.05 * turns, abs=0.02 * turns)


def test_a_priority_that_waits_for_nothing_leaves_its_turns_to_the_others(clocked: Clocked) -> None:
    put_all(clocked, *[Work(priority=LOW)] * 30)
    assert len(take(clocked, 30)) == 30


def test_jobs_of_one_priority_start_in_the_order_in_which_they_came(clocked: Clocked) -> None:
    ids: list[str] = []
    for _ in range(30):
        ids += put_all(clocked, Work())
        clocked.now += SECOND // 1000
    assert [lease.id for _ in range(6) for lease in take(clocked, 5)] == ids


def test_who_waits_when_the_clock_goes_back_goes_before_who_comes_then(clocked: Clocked) -> None:
    clocked.call(leases.renew("llm", [], worker="w"))
    before = put_all(clocked, *[Work()] * 3)
    clocked.now -= 3600 * SECOND
    served: list[str] = []
    for _ in range(5):
        put_all(clocked, Work())
        served += [lease.id for lease in take(clocked)]
    assert sorted(served[:3]) == sorted(before)


def test_what_was_handed_back_is_the_first_of_its_tenant_and_the_oldest_of_it(clocked: Clocked) -> None:
    for _ in range(5):
        put_all(clocked, Work(owner="ann", priority=LOW))
        clocked.now += SECOND
    held = take(clocked, 5)
    put_all(clocked, *[Work(owner="bob", priority=HIGH)] * 50, *[Work(owner="ann", priority=HIGH)] * 50)
    hand_back(clocked, held[3], held[1], held[4])
    served = take(clocked, 8)
    mine = [lease for lease in served if lease.owner == "ann"]
    assert len(mine) == pytest.approx(4, abs=1)
    assert [lease.id for lease in mine][:3] == [held[n].id for n in (1, 3, 4)]
    assert {lease.attempt for lease in served} == {1}


@pytest.mark.parametrize("sort", ["", "~"])
@pytest.mark.parametrize("seen", [True, False])
def test_what_an_older_version_handed_back_is_taken_in(clocked: Clocked, sort: str, *, seen: bool) -> None:
    """It had a set for each lane, which went before all of it."""
    known = models(Limits(), m=ModelConfig())
    ids = put_all(clocked, *[Work(owner=f"t{n % 3}", sort=sort) for n in range(70)])
    hand_back(clocked, *(lease for _ in range(3) for lease in take(clocked, 25)))
    lane = sort or "m"
    for key in clocked.client.scan_iter("tandem:lane:jobs:front:*"):
        entries = cast("list[tuple[bytes, float]]", clocked.client.zrange(key, 0, -1, withscores=True))
        clocked.client.zadd(Key.LANE_FIRST + lane, dict(entries))
        clocked.client.delete(key)
    if not seen:
        clocked.client.delete(Key.LANES, Key.LANE_TENANTS + lane)
    served = [lease.id for _ in range(4) for lease in clocked.call(claim(60, known)).leases]
    assert sorted(served) == sorted(ids)
    take(clocked)
    assert not list(clocked.client.scan_iter("tandem:lane*"))
    assert_keyspace(clocked.client)


@pytest.mark.parametrize("then", ["nothing", "retry", "erase"])
def test_a_cancelled_run_is_paid_for(clocked: Clocked, then: str) -> None:
    put_all(clocked, *[Work(owner=owner, tokens=100) for owner in ("ann", "bob") for _ in range(40)])
    [held] = take(clocked)
    clocked.call(cancel(held.id, ttl=TTL))
    if then == "retry":
        clocked.call(retry(held.id))
    if then == "erase":
        clocked.call(erase(held.id))
    for _ in range(2):  # an answer may get lost
        clocked.call(leases.give_up(held, HandBack(NOTHING), usage=Usage(input_tokens=2000), ttl=TTL))
    assert_keyspace(clocked.client)
    assert held.owner not in {lease.owner for lease in take(clocked, 19)}
    assert held.owner in {lease.owner for lease in take(clocked, 3)}


def test_who_is_handed_back_again_and_again_gets_no_more_turns(clocked: Clocked) -> None:
    put_all(clocked, *[Work(owner="bob", tokens=500)] * 60)
    hand_back(clocked, *(lease for _ in range(3) for lease in take(clocked, 20)))
    put_all(clocked, *[Work(owner="cy", tokens=300, used=300)] * 60)
    served = turns(clocked, 40, {"bob": hand_back})
    assert served["cy"] == pytest.approx(20, abs=1)


def test_a_run_whose_worker_dies_is_a_turn(clocked: Clocked) -> None:
    put_all(clocked, *[Work(owner="bob", tokens=500)] * 10, *[Work(owner="cy", tokens=300)] * 10)
    [lost] = [lease for lease in take(clocked, 2) if lease.owner == "bob"]
    for _ in range(8):
        clocked.now += SECOND
        clocked.call(leases.renew("llm", [], worker="another"))
    tags = dict(cast("Any", clocked.client.zrange(Key.LANE_TENANTS + "m", 0, -1, withscores=True)))
    take(clocked, 0)
    assert cast("Any", clocked.client.hget(Key.JOB + lost.id, "status")) == b"queued"
    assert tags[b"bob"] == 500
    assert clocked.client.zscore(Key.LANE_TENANTS + "m", "bob") == 300


def test_lanes_take_turns(clocked: Clocked) -> None:
    put_all(clocked, *[Work(model="a")] * 200, *[Work(model="b")] * 200)
    models = [cast("Any", clocked.client.hget(Key.JOB + lease.id, "lane")) for lease in take(clocked, 40)]
    assert set(Counter(models).values()) == {20}


def test_who_waits_for_nothing_leaves_the_lane(clocked: Clocked) -> None:
    put_all(clocked, *[Work(owner="ann")] * 2, *[Work(owner="bob")] * 60)
    taken = take(clocked, 30)
    assert clocked.client.zrange(Key.LANE_TENANTS + "m", 0, -1) == [b"bob"]
    hand_back(clocked, taken[0])
    while take(clocked, 30):
        pass
    left = set(cast("list[bytes]", clocked.client.keys("tandem:lane*")))
    assert left == set()


def commands(clocked: Clocked) -> int:
    stats = cast("dict[str, Any]", clocked.client.info("commandstats"))
    return sum(stat["calls"] for name, stat in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_info")))


def cost_of_a_claim(clocked: Clocked, *, tenants: int, jobs: int) -> int:
    clocked.client.flushall()
    put_all(clocked, *[Work(owner=f"t{n % tenants}") for n in range(jobs)])
    take(clocked, 0)
    clocked.client.config_resetstat()
    assert len(take(clocked, 10)) == 10
    return commands(clocked)


def test_a_claim_costs_the_same_however_many_wait(clocked: Clocked) -> None:
    least = cost_of_a_claim(clocked, tenants=20, jobs=20)
    assert cost_of_a_claim(clocked, tenants=10, jobs=2000) <= least * 1.05
    assert cost_of_a_claim(clocked, tenants=2000, jobs=2000) <= least * 1.05
    assert least <= 10 * 20


def test_a_scheduled_job_waits_in_its_lane_once_it_is_due(clocked: Clocked) -> None:
    put_all(clocked, Work(owner="bob"))
    [lease] = take(clocked)
    retry = HandBack(timedelta(seconds=5), throttled=True)
    clocked.call(leases.give_up(lease, retry, usage=Usage(), ttl=TTL))
    clocked.now += 4 * SECOND
    put_all(clocked, *[Work(owner="ann")] * 20)
    assert {one.owner for one in take(clocked, 5)} == {"ann"}
    clocked.now += SECOND
    assert [one.id for one in take(clocked, 1)] == [lease.id]


def test_owners_who_wait_for_nothing_any_more_are_passed_over_a_hundred_a_claim(clocked: Clocked) -> None:
    """In all lanes of the claim together."""
    stale = put_all(clocked, *[Work(owner=f"t{n}", model=f"m{n % 10}") for n in range(1500)])
    clocked.call_all([cancel(one, ttl=TTL) for one in stale])
    put_all(clocked, *[Work(owner="z", model=f"m{n}") for n in range(10)])
    found: list[Lease] = []
    for _ in range(16):
        clocked.client.config_resetstat()
        claimed = clocked.call(claim(100, NO_MODELS))
        assert commands(clocked) < 3000
        found += claimed.leases
        assert len(found) == 10 or claimed.next_due == timedelta(0)
    assert {one.owner for one in found} == {"z"}
    assert len(found) == 10
