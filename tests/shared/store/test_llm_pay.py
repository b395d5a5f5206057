"""What owners pay for in the asyncio pool while many of their jobs run: the tokens used, and not those foretold."""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, HandBack
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import leases
from tandem.shared.store.commands import cancel
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import NO_MODELS, Lease
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import FAILURE, NOTHING, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Work, claim, put_all, succeeded, take, turns
from tests.support.limits.limiter_script import Clocked

MOST_IN_A_ROW = 50


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


@pytest.mark.parametrize("together", [1, 5])
def test_tenants_share_what_is_really_used_however_many_run_at_once(clocked: Clocked, together: int) -> None:
    """So many end together, and as many start then."""
    foretold, used = {"ann": 370, "bob": 760, "cy": 2260}, {"ann": 108, "bob": 408, "cy": 1530}
    for owner, tokens in foretold.items():
        put_all(clocked, *[Work(owner=owner, tokens=tokens)] * (150_000 // used[owner]))
    held, ended, draw = take(clocked, 60), Counter[str](), random.Random(1)  # noqa: S311 - not a secret
    for turn in range(1500 // together):
        draw.shuffle(held)
        over, held = held[:together], held[together:]
        clocked.call_all([succeeded(lease, used[lease.owner]) for lease in over])
        held += take(clocked, together)
        if turn * together >= 120:
            ended.update({owner: used[owner] * n for owner, n in Counter(lease.owner for lease in over).items()})
    for owner in used:
        assert ended[owner] == pytest.approx(ended.total() / 3, rel=0.08)
    assert_keyspace(clocked.client)


def run_on(clocked: Clocked, held: list[Lease], runs: int, used: int = 500) -> Counter[str]:
    """End so many runs, one after the other, and start another for each; gives whose they were."""
    ended, draw = Counter[str](), random.Random(1)  # noqa: S311 - not a secret
    for _ in range(runs):
        over = held.pop(draw.randrange(len(held)))
        clocked.call(succeeded(over, used))
        ended[over.owner] += 1
        held += take(clocked)
    return ended


def take_many(clocked: Clocked, count: int) -> list[Lease]:
    return [lease for _ in range(count // 20) for lease in take(clocked, 20)]


def test_a_cap_that_is_far_too_large_costs_its_owner_no_turns(clocked: Clocked) -> None:
    for owner, tokens in {"ann": 32_000, "bob": 600}.items():
        put_all(clocked, *[Work(owner=owner, tokens=tokens)] * 600)
    held = take_many(clocked, 100)
    run_on(clocked, held, 200)
    ended = run_on(clocked, held, 400)
    assert ended["ann"] == pytest.approx(200, rel=0.05)
    assert_keyspace(clocked.client)


def test_what_was_charged_in_a_lane_that_is_empty_since_then_is_worth_few_turns(clocked: Clocked) -> None:
    """Those who wait for nothing are forgotten, with what they were charged; what comes back counts afterwards."""
    put_all(clocked, *[Work(owner="ann", tokens=32_000)] * 80, *[Work(owner="bob", tokens=32_000)] * 20)
    held = take_many(clocked, 100)
    assert take(clocked) == []
    put_all(clocked, *[Work(owner=owner, tokens=32_000) for owner in ("ann", "bob") for _ in range(600)])
    ended = run_on(clocked, held, 800)
    started = ended["ann"] + sum(lease.owner == "ann" for lease in held) - 80
    assert started == pytest.approx(400, abs=MOST_IN_A_ROW)


def test_a_run_with_a_huge_cap_gives_no_turns_to_its_owner(clocked: Clocked) -> None:
    """Bob comes when the lane's time has gone on by what was charged."""
    [job] = put_all(clocked, Work(owner="ann", tokens=1_000_000))
    put_all(clocked, *[Work(owner="ann", tokens=500)] * 200)
    huge, *held = take(clocked, 3)
    assert huge.id == job
    put_all(clocked, *[Work(owner="bob", tokens=500)] * 200)
    clocked.call(succeeded(huge, 20_000))
    ended = run_on(clocked, held, 100)
    assert ended["bob"] >= 45


def test_what_comes_back_is_worth_so_many_turns_in_a_row_at_most(clocked: Clocked) -> None:
    """Bob came after they began, and does not wait for all of it."""
    put_all(clocked, *[Work(owner="ann", tokens=32_000)] * 250)
    held = [lease for _ in range(4) for lease in take(clocked, 25)]
    put_all(clocked, *[Work(owner="bob", tokens=500)] * 10)
    clocked.call_all([succeeded(lease, 500) for lease in held])
    put_all(clocked, *[Work(owner="cy", tokens=500)] * 10)
    served = Counter[str]()
    while "bob" not in served:
        [lease] = take(clocked)
        served[lease.owner] += 1
        clocked.call(succeeded(lease, 500))
    assert served["ann"] <= MOST_IN_A_ROW + 1


def test_a_newcomer_is_behind_nobody_to_whom_something_has_come_back(clocked: Clocked) -> None:
    put_all(clocked, *[Work(owner="ann", tokens=2000)] * 100)
    held = [lease for _ in range(2) for lease in take(clocked, 20)]
    clocked.call_all([succeeded(lease, 200) for lease in held])
    [job] = put_all(clocked, Work(owner="zoe", tokens=2000))
    assert job in [lease.id for lease in take(clocked, 2)]


def test_high_that_comes_now_and_then_is_never_passed_over(clocked: Clocked) -> None:
    for priority in (Priority.NORMAL, Priority.LOW):
        put_all(clocked, *[Work(priority=priority)] * 100)
    for others in [1, 2, 3, 4, 5] * 6:
        [high] = put_all(clocked, Work(priority=Priority.HIGH))
        assert [lease.id for lease in take(clocked)] == [high]
        assert len(take(clocked, others)) == others


def refuse(clocked: Clocked, lease: Lease) -> None:
    """End a run as after a 400, which costs no tokens."""
    assert clocked.call(leases.give_up(lease, Fail(FAILURE), usage=Usage(requests=1), ttl=TTL))


def stop(clocked: Clocked, lease: Lease) -> None:
    clocked.call(cancel(lease.id, ttl=TTL))
    clocked.call(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))


@pytest.mark.parametrize("cheap", [0, 5])
@pytest.mark.parametrize("end", [refuse, stop])
def test_who_uses_no_tokens_gets_no_more_turns(
    clocked: Clocked, end: Callable[[Clocked, Lease], None], cheap: int
) -> None:
    """Each is a request of the limit, or a place, all the same, also where other runs of its owner were cheap."""
    put_all(clocked, *[Work(owner="ann", tokens=500)] * 60)
    run_on(clocked, take(clocked), cheap, used=1)
    put_all(clocked, *[Work(owner="bob", tokens=300)] * 60)
    served = turns(clocked, 40, {"ann": end})
    assert served["bob"] == pytest.approx(20, abs=1)


def test_a_suspect_pays_for_what_it_uses(clocked: Clocked) -> None:
    """Its claim charges nothing, as it stands in no lane, so nothing comes back either."""
    put_all(clocked, *[Work(owner="ann", tokens=32_000)] * 5)
    for worker in ("w1", "w2"):
        held: list[Lease] = clocked.call(claim(5, NO_MODELS, worker)).leases
        clocked.client.zadd(Key.LEASES, {lease.id: 1 for lease in held})
    assert clocked.call(claim(0, NO_MODELS)).leases == []
    put_all(clocked, *[Work(owner=owner, tokens=500) for owner in ("ann", "bob") for _ in range(60)])
    suspects = [lease for _ in range(5) for lease in take(clocked)]
    assert all(lease.suspect for lease in suspects)
    clocked.call_all([succeeded(lease, 1000) for lease in suspects])
    served = Counter(str(lease.owner) for lease in take(clocked, 25))
    assert served["ann"] == pytest.approx(7.5, abs=1), "ten turns are paid already"
    assert_keyspace(clocked.client)
