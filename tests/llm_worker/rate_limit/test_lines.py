"""Later requests of a job that has begun wait in place: in lines, before whatever has not begun."""

import heapq
from collections.abc import Iterator

import pytest

from tandem.shared.limits.model import Limits, Scope
from tandem.shared.limits.numbers import PARK_LOOK_US
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits.operations import lift
from tests.support.limits.claims import Work, claim, models, store
from tests.support.limits.limiter_script import SECOND, Clocked, scope

GONE = 2 * SECOND  # who waits and does not come for so long


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


class Line:
    """Those who wait: each comes when it is told to, until it may start, and is settled when it has."""

    def __init__(self, clocked: Clocked, scope: Scope) -> None:
        self.clocked, self.scope = clocked, scope
        self.asked = 0
        self.started: dict[str, int] = {}  # in order
        self._events: list[tuple[int, str, int]] = []

    def join(self, *names: str) -> None:
        """Let them come now, one after the other, a millisecond apart."""
        for n, name in enumerate(names):
            at = self.clocked.now + n * 1000
            heapq.heappush(self._events, (at, name, at))

    def run(self, *, until: int, took: int = 0) -> None:
        """Go on until all have started, or until then."""
        ends: list[tuple[int, str]] = []
        while self._events and min(self._events[0][0], ends[0][0] if ends else until) < until:
            if ends and ends[0][0] <= self._events[0][0]:
                self.clocked.now, name = heapq.heappop(ends)
                self.clocked.settle(name, 1)
                continue
            self.clocked.now, name, since = heapq.heappop(self._events)
            answer = self.clocked.acquire(self.scope, name, 1, waited=self.clocked.now - since)
            self.asked += 1
            at = self.clocked.now + answer[1]
            if answer[0] == 1:
                self.started[name] = at
                heapq.heappush(ends, (at + took, name))
            else:
                heapq.heappush(self._events, (at, name, since))


NAMES = [f"w{n:02}" for n in range(50)]


@pytest.mark.parametrize(
    ("limits", "took"),
    [(Limits(rpm=600), 0), (Limits(rpm=60), 0), (Limits(concurrency=1), SECOND), (Limits(tpm=600, concurrency=9), 0)],
    ids=["600", "60", "slot", "tokens"],
)
def test_first_come_first_served(clocked: Clocked, limits: Limits, took: int) -> None:
    line = Line(clocked, Scope("p", "m", limits))
    line.join(*NAMES[:12])
    line.run(until=clocked.now + 60 * SECOND, took=took)
    assert list(line.started) == NAMES[:12]
    assert line.asked <= 12 * 40


@pytest.mark.parametrize(("rpm", "seconds"), [(6000, 0.5), (600, 5.0)])
def test_many_who_wait_for_a_fast_rate_are_served_at_that_rate(clocked: Clocked, rpm: int, seconds: float) -> None:
    line, began = Line(clocked, scope(rpm=rpm)), clocked.now
    while clocked.acquire(scope(rpm=rpm), f"before{clocked.now}")[:2] == [1, 0]:  # the bucket is empty
        clocked.now += 1
    line.join(*NAMES)
    line.run(until=began + 60 * SECOND)
    assert list(line.started) == NAMES
    assert (max(line.started.values()) - began) / SECOND == pytest.approx(seconds, abs=0.25)
    assert line.asked <= 50 * (2 + 4 * seconds)


def test_slots_are_used_while_many_wait(clocked: Clocked) -> None:
    line, began = Line(clocked, scope(concurrency=5)), clocked.now
    line.join(*NAMES)
    line.run(until=began + 60 * SECOND, took=SECOND)
    assert len(line.started) == 50
    assert max(line.started.values()) - began <= 10 * SECOND / 0.9
    assert line.asked <= 50 * 25


def test_the_one_who_has_waited_longest_is_next_whoever_comes(clocked: Clocked) -> None:
    one = scope(concurrency=1)
    assert clocked.acquire(one, "first")[0] == 1
    clocked.now += 3 * SECOND
    assert clocked.acquire(one, "old", waited=3 * SECOND)[2] == "p concurrency"
    assert clocked.acquire(one, "young", waited=SECOND)[0] == 0
    clocked.settle("first")
    for late in ("young", "new"):
        assert clocked.acquire(one, late)[0] == 0
    assert clocked.acquire(one, "old", waited=3 * SECOND)[0] == 1


def test_who_waits_goes_before_what_has_not_begun(clocked: Clocked) -> None:
    limited, work = models(Limits(rpm=60)), Work()
    assert clocked.acquire(scope(rpm=60), "running")[0] == 1
    assert clocked.acquire(scope(rpm=60), "waiting")[0] == 0
    clocked.call_all(store([work.job() for _ in range(3)]))
    for _ in range(10):
        clocked.now += SECOND // 10
        assert clocked.call(claim(10, limited)).leases == []
    assert clocked.acquire(scope(rpm=60), "waiting", waited=SECOND)[0] == 1
    leases = []
    for _ in range(12):  # a second of its own for the first that has not begun, and no more
        clocked.now += SECOND // 10
        leases += clocked.call(claim(10, limited)).leases
    assert len(leases) == 1


def test_a_line_before_another_limit_holds_nobody_else_up(clocked: Clocked) -> None:
    both = Scope("p", "m", Limits(rpm=6000), Limits(concurrency=1))
    assert clocked.acquire(both, "a")[0] == 1
    assert clocked.acquire(both, "b")[2] == "p:m concurrency"
    assert clocked.acquire(Scope("p", "other", Limits(rpm=6000)), "c")[0] == 1


@pytest.mark.parametrize("limits", [Limits(), Limits(rpm=60), Limits(concurrency=1)], ids=["none", "rate", "slot"])
def test_who_waits_out_a_park_goes_before_what_has_not_begun(clocked: Clocked, limits: Limits) -> None:
    """Each claim comes a moment before: to the probe, again and again, and to the first start after the park."""
    begun, since = Scope("p", "m", limits), clocked.now
    clocked.park(begun, 30 * SECOND)
    clocked.call_all(store([Work().job() for _ in range(20)]))
    for _ in range(3):
        clocked.now += 10 * SECOND
        assert clocked.call(claim(10, models(limits))).leases == []
        answer = clocked.acquire(begun, "begun", waited=clocked.now - since, why="parked")
    assert answer[0] == 1
    assert clocked.call(claim(10, models(limits))).leases == []
    clocked.settle("begun", 1)
    clocked.now += SECOND
    assert clocked.call(claim(10, models(limits))).leases != []


def test_who_died_in_a_park_holds_the_others_up_for_seconds_only(clocked: Clocked) -> None:
    one = scope(rpm=600)
    clocked.park(one, 60 * SECOND)
    assert clocked.acquire(one, "dead")[2] == "parked"
    clocked.call_all(store([Work().job() for _ in range(20)]))
    assert clocked.call(lift(one.name)) is True
    lifted = clocked.now
    while not clocked.call(claim(10, models(Limits(rpm=600)))).leases:
        clocked.now += SECOND // 10
    assert clocked.now - lifted <= PARK_LOOK_US + GONE + SECOND


def test_who_has_gone_does_not_block(clocked: Clocked) -> None:
    one = scope(concurrency=1)
    clocked.acquire(one, "first")
    for n in range(25):
        assert clocked.acquire(one, f"gone{n}", waited=SECOND)[0] == 0
    clocked.settle("first")
    clocked.now += GONE // 2
    assert clocked.acquire(one, "next")[0] == 0  # they may still come
    clocked.now += GONE // 2 + 1
    for _ in range(3):  # ten are forgotten at each look
        answer = clocked.acquire(one, "next", waited=GONE)
    assert answer[0] == 1


def test_who_is_cancelled_leaves_nothing_behind(clocked: Clocked) -> None:
    one = scope(concurrency=1, rpm=600)
    clocked.acquire(one, "first")
    assert clocked.acquire(one, "cancelled")[0] == 0
    clocked.leave(one, "cancelled")
    clocked.settle("first")
    assert clocked.acquire(one, "next")[0] == 1
    clocked.leave(one, "next")  # granted, and not sent
    assert clocked.client.keys(f"{LimitKey.LIMIT_LINE}*") == []
    for key in (LimitKey.LIMIT_WAITERS, LimitKey.LIMIT_RESERVED, LimitKey.LIMIT_CHECKS, LimitKey.LIMIT_HELD + "p"):
        assert clocked.client.exists(key) == 0
