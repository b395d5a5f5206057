"""The limiter's script on a real server, the clock in the test's hand: minutes of traffic in a second."""

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.shared.limits.model import Limits, Scope
from tandem.shared.runtime.redis_client import Client, client
from tandem.shared.store.keys import Key, LimitKey
from tests.support.limiter_script import SECOND, START, Clocked, scope

CHECK = 10 * SECOND  # between two looks whether a holder lives


@pytest.fixture
def redis(valkey: str) -> Iterator[Client]:
    with client(valkey) as connection:
        yield connection


@pytest.fixture
def clocked(redis: Client) -> Clocked:
    return Clocked(redis)


def field(redis: Client, name: str) -> float:
    """A field of the provider's level."""
    return float(cast("bytes | None", redis.hget(LimitKey.LIMIT_LEVEL + "p", name)) or 0)


class Traffic:
    """More demand than the limit: each ticket comes, comes back when told, is late by `late`, runs and is settled."""

    def __init__(self, clocked: Clocked, scope: Scope, seed: int) -> None:
        self.clocked, self.scope, self.random = clocked, scope, random.Random(seed)  # noqa: S311
        self.started: list[tuple[int, int, str]] = []
        self.asked = 0
        self.since: dict[str, int] = {}

    def run(
        self,
        sizes: list[tuple[int, int]],
        *,
        seconds: int,
        late: float,
        took: Callable[[random.Random], float],
        every: float = 0.001,
        away: Sequence[tuple[int, int]] = (),
    ) -> None:
        """`sizes`: reserved and really used tokens of each ticket; `away`: seconds in which nobody can come."""
        stretches = [(START + since * SECOND, START + until * SECOND) for since, until in away]
        events = [(START + int(n * every * SECOND), f"t{n}", "come") for n in range(len(sizes))]
        while events and events[0][0] < START + seconds * SECOND:
            self.clocked.now, ticket, what = heapq.heappop(events)
            if back := next((until for since, until in stretches if since <= self.clocked.now < until), None):
                heapq.heappush(events, (back, ticket, what))
                continue
            reserved, used = sizes[int(ticket[1:])]
            if what == "end":
                self.clocked.settle(ticket, used)
                continue
            since = self.since.setdefault(ticket, self.clocked.now)
            answer = self.clocked.acquire(self.scope, ticket, reserved, waited=self.clocked.now - since)
            self.asked += 1
            at = self.clocked.now + answer[1]
            if answer[0] == 1:
                self.started.append((at, used, ticket))
                heapq.heappush(events, (at + int(took(self.random) * SECOND), ticket, "end"))
            else:
                heapq.heappush(events, (at + int(self.random.random() * late * SECOND), ticket, "come"))
        self.started.sort()

    def most_in_a_minute(self, weight: Callable[[int], int]) -> int:
        """The fullest window of 60 s, by what `weight` makes of the tokens of a request."""
        most = inside = first = 0
        for at, tokens, _ in self.started:
            inside += weight(tokens)
            while self.started[first][0] <= at - 60 * SECOND:
                inside -= weight(self.started[first][1])
                first += 1
            most = max(most, inside)
        return most


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), late=st.sampled_from([0.0, 0.3, 2.0]), rpm=st.sampled_from([120, 600]))
def test_requests_never_above_the_limit_and_the_limit_is_used(
    clocked: Clocked, redis: Client, seed: int, late: float, rpm: int
) -> None:
    redis.flushall()
    traffic = Traffic(clocked, scope(rpm=rpm), seed)
    traffic.run([(0, 0)] * (2 * rpm), seconds=75, late=late, took=lambda r: r.uniform(0.1, 9))
    assert traffic.most_in_a_minute(lambda _: 1) <= rpm * 1.01
    assert len(traffic.started) >= rpm * 75 / 60 * (0.98 if late < 1 else 0.94)
    assert traffic.asked <= 3 * 2 * rpm


def test_the_limit_is_used_again_after_outages(clocked: Clocked) -> None:
    traffic, away = Traffic(clocked, scope(rpm=600), seed=3), [(at, at + 6) for at in range(10, 80, 12)]
    traffic.run([(0, 0)] * 3000, seconds=240, late=0.2, took=lambda r: r.uniform(0.1, 2), every=0.08, away=away)
    assert traffic.most_in_a_minute(lambda _: 1) <= 606
    after = [at for at, _, _ in traffic.started if START + 80 * SECOND <= at < START + 220 * SECOND]
    assert len(after) >= 0.98 * 1400


@pytest.mark.parametrize(("limit", "least"), [(Limits(rpm=99), 0.97), (Limits(rpm=99, concurrency=20), 0.9)])
def test_a_low_limit_is_used_though_many_come_late(clocked: Clocked, limit: Limits, least: float) -> None:
    """As from workers that are slow, or from the dead and the stopped ones, whose jobs others take over."""
    traffic = Traffic(clocked, Scope("p", "m", limit), seed=4)
    traffic.run([(0, 0)] * 250, seconds=140, late=3, took=lambda r: r.uniform(0.02, 0.25), every=0.4)
    assert traffic.most_in_a_minute(lambda _: 1) <= 100
    assert len([at for at, _, _ in traffic.started if at >= START + 20 * SECOND]) >= least * 99 * 2
    assert traffic.asked <= 8 * len(traffic.started)


@pytest.mark.parametrize(("reserved", "least"), [((100, 300), 0.9), ((1000, 1000), 0.85)])
def test_tokens_are_used_up_however_generous_the_reservations(
    clocked: Clocked, reserved: tuple[int, int], least: float
) -> None:
    limit, draw = 100_000, random.Random(7)  # noqa: S311
    sizes = [(draw.randint(*reserved), draw.randint(100, 300)) for _ in range(1000)]
    traffic = Traffic(clocked, scope(tpm=limit), seed=1)
    traffic.run(sizes, seconds=80, late=0.05, took=lambda r: r.uniform(0.5, 3))
    used = sum(tokens for _, tokens, _ in traffic.started)
    assert traffic.most_in_a_minute(lambda tokens: tokens) <= limit * 1.02
    assert used >= limit * 80 / 60 * least


def test_slots_are_never_more_than_there_are_and_nobody_polls_hot(clocked: Clocked) -> None:
    traffic = Traffic(clocked, scope(concurrency=5), seed=2)
    traffic.run([(0, 0)] * 200, seconds=60, late=0.0, took=lambda r: r.uniform(0.5, 1.5))
    assert len(traffic.started) >= 60 * 5 * 0.5
    assert traffic.asked <= 200 * 15
    ends = [(at, 1) for at, _, _ in traffic.started]
    assert max(sum(1 for at, _ in ends if start <= at < start + SECOND // 2) for start, _ in ends) <= 5


def test_slots_go_to_those_who_wait_in_the_order_in_which_they_came(clocked: Clocked) -> None:
    one = scope(concurrency=1)
    assert clocked.acquire(one, "first")[0] == 1
    due = {}
    for ticket in ("a", "b", "c"):
        clocked.now += 1000
        state, delay, why = clocked.acquire(one, ticket)
        assert (state, why) == (0, "p concurrency")
        due[ticket] = clocked.now + delay
    assert due["a"] < due["b"] < due["c"]
    clocked.settle("first")
    clocked.now = due["c"]
    for ticket in ("c", "b"):
        assert clocked.acquire(one, ticket)[0] == 0  # the slot is a's
    assert clocked.acquire(one, "new")[0] == 0
    assert clocked.acquire(one, "a")[0] == 1


def test_a_big_request_is_not_starved_by_small_ones(clocked: Clocked) -> None:
    limit = scope(tpm=60_000)  # 1000 a second
    clocked.warm(limit)
    assert clocked.acquire(limit, "first", 20_000) == [1, 0]
    now = clocked.now
    state, big, _ = clocked.acquire(limit, "big", 30_000)
    assert state == 0
    for n in range(50):
        clocked.now += 10_000
        state, delay, _ = clocked.acquire(limit, f"small{n}", 10)
        assert state == 0
        assert clocked.now + delay >= now + big
    clocked.now = now + big
    state, delay = clocked.acquire(limit, "big", 30_000)
    assert state == 1
    assert delay <= SECOND


def test_all_or_nothing_over_provider_and_model(clocked: Clocked, redis: Client) -> None:
    both = Scope("p", "m", Limits(rpm=60_000), Limits(rpm=60))
    other = Scope("p", "other", Limits(rpm=60_000))
    assert clocked.acquire(both, "a") == [1, 0]
    before = field(redis, "rpm_tat")
    state, delay, why = clocked.acquire(both, "b")
    assert (state, why) == (0, "p:m rpm")
    assert field(redis, "rpm_tat") == before
    assert delay > 0
    assert clocked.acquire(other, "c") == [1, 0]  # the provider has room: the model's wait is its own


def test_more_tokens_than_a_minute_holds_are_refused_at_once(clocked: Clocked, redis: Client) -> None:
    assert clocked.acquire(scope(tpm=1000, rpm=60), "a", 1001) == [-1, "p tpm", 1000]
    assert redis.hgetall(LimitKey.LIMIT_LEVEL + "p") == {}
    assert clocked.acquire(scope(tpm=1000, rpm=60), "b", 1000) == [1, 0]


def test_nothing_sent_gives_everything_back_and_a_difference_is_settled(clocked: Clocked, redis: Client) -> None:
    limit = scope(tpm=60_000, rpm=60)

    def ahead(kind: str) -> float:
        return (field(redis, f"{kind}_tat") - clocked.now) / SECOND

    clocked.acquire(limit, "a", 6000)
    assert (ahead("tpm"), ahead("rpm")) == (6, 1)
    clocked.settle("a", None)
    assert (ahead("tpm"), ahead("rpm")) == (0, 0)
    clocked.acquire(limit, "b", 6000)
    clocked.settle("b", 9000)
    assert (ahead("tpm"), ahead("rpm")) == (9, 1)
    clocked.settle("b", 1)  # repeated, because an answer got lost
    assert ahead("tpm") == 9


def test_a_grant_that_is_asked_for_again_is_one_grant(clocked: Clocked, redis: Client) -> None:
    limit = scope(rpm=60, concurrency=2)
    assert clocked.acquire(limit, "a") == [1, 0]
    before = redis.hgetall(LimitKey.LIMIT_LEVEL + "p")
    assert clocked.acquire(limit, "a") == [1, 0]
    assert redis.hgetall(LimitKey.LIMIT_LEVEL + "p") == before
    assert redis.zcard(LimitKey.LIMIT_HELD + "p") == 1


def test_the_reservations_of_the_dead_come_back(clocked: Clocked, redis: Client) -> None:
    limit = scope(tpm=60_000, concurrency=2)
    clocked.acquire(limit, "alive", 100)
    clocked.acquire(limit, "dead", 30_000)
    clocked.now += CHECK // 2
    clocked.run({"op": "renew", "tickets": ["alive"], "by": "a"})
    tat = field(redis, "tpm_tat")
    clocked.now += CHECK // 2
    clocked.run({"op": "renew", "tickets": ["alive"], "by": "a"})
    assert redis.zrange(LimitKey.LIMIT_HELD + "p", 0, -1) == [b"alive"]
    assert field(redis, "tpm_tat") == tat - 30 * SECOND
    assert redis.hkeys(LimitKey.LIMIT_RESERVED) == [b"alive"]


def test_who_does_not_come_in_time_gives_its_place_back_but_goes_before_new_ones(clocked: Clocked) -> None:
    limit = scope(rpm=6)
    clocked.acquire(limit, "a")
    lost = [clocked.acquire(limit, f"lost{n}") for n in range(3)]
    assert [state for state, *_ in lost] == [0, 0, 0]
    clocked.now += lost[0][1] + CHECK + SECOND
    assert clocked.acquire(limit, "new1")[0] == 0  # behind lost1 and lost2, whose time has not come
    assert clocked.acquire(limit, "lost0") == [1, 0]


def test_a_park_holds_everybody_and_releases_them_one_after_the_other(clocked: Clocked) -> None:
    free = Scope("p", "m")
    assert clocked.park(free, 2 * SECOND) == 2 * SECOND
    waits = [clocked.acquire(free, f"t{n}") for n in range(3)]
    assert [wait[0] for wait in waits] == [0, 0, 0]
    assert {wait[2] for wait in waits} == {"parked"}
    assert 2 * SECOND == waits[0][1] < waits[1][1] < waits[2][1] < 2.1 * SECOND
    assert clocked.acquire(Scope("p", "other"), "x") == [1, 0]
    clocked.now += waits[0][1]
    assert clocked.acquire(free, "t0") == [1, 0]


def test_parks_without_a_word_of_the_provider_grow_once_each_time(clocked: Clocked) -> None:
    free, parks = Scope("p", "m"), []
    for _ in range(8):
        parks.append(clocked.park(free) / SECOND)
        assert clocked.park(free) / SECOND == parks[-1]  # one more 429 of the same moment
        clocked.now += int(parks[-1] * SECOND)
    assert parks == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_the_provider_says_is_left_lowers_the_bucket(clocked: Clocked) -> None:
    limit = scope(rpm=600, tpm=60_000)
    clocked.warm(limit)
    clocked.acquire(limit, "a", 100)
    clocked.settle("a", 100, rpm=(600, 0))  # others have used the rest
    clocked.now += SECOND // 50
    state, delay = clocked.acquire(limit, "b", 100)
    assert state == 1
    assert delay == pytest.approx(0.08 * SECOND, abs=1000)
    clocked.settle("b", 100, tpm=(60_000, 50))
    state, delay, why = clocked.acquire(limit, "c", 30_000)
    assert (state, why) == (0, "p tpm")
    assert delay == pytest.approx(29.5 * SECOND, rel=0.05)


def test_what_limits_do_is_counted(clocked: Clocked, redis: Client) -> None:
    both = Scope("a|b", "m", Limits(rpm=60, concurrency=5), Limits(tpm=10**7))
    clocked.acquire(both, "one", 100)
    came = clocked.now
    while (answer := clocked.acquire(both, "two", 100))[0] == 0:
        clocked.now += answer[1]
    waited = (clocked.now - came) // 1000
    assert waited > 800
    clocked.settle("one", 40)
    free = Scope("q", "m", known=False)
    clocked.park(free, SECOND)
    assert clocked.acquire(free, "three", 100) == [0, SECOND, "parked"]
    clocked.now += SECOND
    assert clocked.acquire(free, "three", 100)[0] == 1
    counted = {
        name.decode(): int(value) for name, value in cast("dict[bytes, bytes]", redis.hgetall(Key.METRICS)).items()
    }
    assert counted == {
        "limit|a/b|rpm": 60,
        "limit|a/b|concurrency": 5,
        "limit|a/b:m|tpm": 10**7,
        "limit_used|a/b|rpm": 2,
        "limit_used|a/b:m|tpm": 40,
        "limit_held|a/b|concurrency": 1,
        "limit_waits|a/b|rpm": 1,
        "limit_waited|a/b|rpm": waited,
        "limit_waits||park": 1,
        "limit_waited||park": 1000,
        "throttled|q|other": 1,
    }


HOUR = 3600 * SECOND


def test_a_clock_that_goes_back_delays_nobody(clocked: Clocked) -> None:
    limit, slots, free = scope(rpm=6, tpm=60_000), Scope("q", "m", Limits(concurrency=1)), Scope("r", "m")
    clocked.acquire(limit, "first", 100)
    clocked.acquire(slots, "dead")
    clocked.park(free, 2 * SECOND)
    _, booked, _ = clocked.acquire(limit, "second", 100)
    clocked.acquire(slots, "queued")
    _, parked, _ = clocked.acquire(free, "third")
    clocked.now -= HOUR
    assert clocked.acquire(limit, "second", 100)[1] == booked
    assert clocked.acquire(free, "third")[1] == parked
    clocked.now += booked
    assert clocked.acquire(limit, "second", 100)[0] == 1
    clocked.now += parked
    assert clocked.acquire(free, "third") == [1, 0]
    clocked.now += CHECK
    assert clocked.acquire(slots, "queued") == [1, 0]


def test_every_key_has_a_ttl(clocked: Clocked, redis: Client) -> None:
    limit = scope(rpm=60, tpm=600, concurrency=1)
    clocked.acquire(limit, "a", 100)
    clocked.acquire(limit, "b", 100)
    clocked.park(limit)
    keys = set(cast("list[bytes]", redis.keys("*"))) - {Key.METRICS.encode()}
    assert len(keys) >= 6
    for key in keys:
        assert cast("int", redis.pttl(key)) > 0, key
        assert key.startswith((b"tandem:limit:", b"tandem:park:"))
