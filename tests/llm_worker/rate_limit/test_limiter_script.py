"""What the limits' script says, request by request, on a real server, the clock in the test's hand."""

from collections.abc import Iterator
from typing import cast

import pytest

from tandem.shared.limits.model import Limits, Scope
from tandem.shared.limits.numbers import CHECK_US
from tandem.shared.runtime.redis_client import Client, client
from tandem.shared.store.keys import Key, LimitKey
from tandem.shared.store.limits.operations import Parks, lift
from tests.support.limits.limiter_script import SECOND, Clocked, scope

CHECK = CHECK_US  # between two looks whether a holder lives


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
    assert (ahead("tpm"), ahead("rpm")) == pytest.approx((6, 1), rel=0.01)
    clocked.settle("a", None)
    assert (ahead("tpm"), ahead("rpm")) == pytest.approx((0, 0), abs=0.001)
    clocked.acquire(limit, "b", 6000)
    clocked.settle("b", 9000)
    assert (ahead("tpm"), ahead("rpm")) == pytest.approx((9, 1), rel=0.01)
    clocked.settle("b", 1)  # repeated, because an answer got lost
    assert ahead("tpm") == pytest.approx(9, rel=0.01)


def test_a_grant_that_is_asked_for_again_is_one_grant(clocked: Clocked, redis: Client) -> None:
    limit = scope(rpm=60, concurrency=2)
    assert clocked.acquire(limit, "a") == [1, 0]
    before = redis.hgetall(LimitKey.LIMIT_LEVEL + "p")
    assert clocked.acquire(limit, "a") == [1, 0]
    assert redis.hgetall(LimitKey.LIMIT_LEVEL + "p") == before
    assert redis.zcard(LimitKey.LIMIT_HELD + "p") == 1


def test_operations_that_are_repeated_are_one(clocked: Clocked, redis: Client) -> None:
    limit = scope(rpm=6, tpm=6000, concurrency=1)
    clocked.acquire(limit, "a", 100)
    clocked.acquire(limit, "b", 100)
    clocked.settle("a", 50)
    once = redis.hgetall(LimitKey.LIMIT_LEVEL + "p"), redis.hgetall(Key.METRICS)
    clocked.settle("a", 50)
    clocked.leave(limit, "b")
    clocked.leave(limit, "b")
    assert (redis.hgetall(LimitKey.LIMIT_LEVEL + "p"), redis.hgetall(Key.METRICS)) == once


def test_the_reservations_of_the_dead_come_back(clocked: Clocked, redis: Client) -> None:
    limit = scope(tpm=60_000, concurrency=2)
    clocked.acquire(limit, "alive", 50)
    clocked.acquire(limit, "dead", 200)
    tat = field(redis, "tpm_tat")
    clocked.end("dead")
    clocked.now += CHECK - 1
    clocked.run({"op": "parks"})
    assert redis.zcard(LimitKey.LIMIT_HELD + "p") == 2  # nobody has looked yet
    clocked.now += 1
    clocked.run({"op": "parks"})
    assert redis.zrange(LimitKey.LIMIT_HELD + "p", 0, -1) == [b"alive:1:0"]
    assert redis.hkeys(LimitKey.LIMIT_RESERVED) == [b"alive:1:0"]
    assert redis.zrange(LimitKey.LIMIT_CHECKS, 0, -1) == [b"alive:1:0"]
    assert field(redis, "tpm_tat") == tat  # the provider may have seen its tokens
    for _ in range(10):  # however long a run takes
        clocked.now += CHECK
        clocked.run({"op": "parks"})
    assert redis.zrange(LimitKey.LIMIT_HELD + "p", 0, -1) == [b"alive:1:0"]


@pytest.mark.parametrize("ticket", ["", "odd", "a:b", "gone:1:0"])
def test_a_ticket_of_no_run_is_not_held_for_ever(clocked: Clocked, redis: Client, ticket: str) -> None:
    limit = scope(concurrency=1)
    op = {"op": "acquire", "ticket": ticket, "tokens": 1, "sort": "", "waited": 0, "why": ""}
    clocked.run(op | {"levels": limit.levels(), "scope": limit.name})
    assert redis.zcard(LimitKey.LIMIT_HELD + "p") == 1
    clocked.now += CHECK
    assert clocked.acquire(limit, "next")[0] == 1


def test_a_park_holds_everybody_of_its_model(clocked: Clocked) -> None:
    free = Scope("p", "m")
    assert clocked.park(free, 2 * SECOND) == 2 * SECOND
    for n in range(3):
        assert clocked.acquire(free, f"t{n}") == [0, pytest.approx(2 * SECOND, abs=SECOND // 10), "parked"]
    assert clocked.acquire(Scope("p", "other"), "x") == [1, 0]


def test_after_a_park_one_request_tries_and_its_answer_lets_the_others_follow(clocked: Clocked, redis: Client) -> None:
    free = Scope("p", "m")
    clocked.park(free, 2 * SECOND)
    clocked.now += 2 * SECOND
    assert clocked.acquire(free, "probe") == [1, 0]
    for n in range(3):
        state, delay, why = clocked.acquire(free, f"t{n}")
        assert (state, why) == (0, "parked")
        assert delay <= SECOND // 10
    clocked.settle("probe")
    for n in range(3):
        assert clocked.acquire(free, f"t{n}") == [1, 0]
    assert redis.keys("tandem:*park*") == []
    assert redis.hkeys(LimitKey.LIMIT_RESERVED) == []  # what no limit counts needs no settling


def test_a_refused_probe_lengthens_the_park(clocked: Clocked) -> None:
    free = Scope("p", "m")
    clocked.park(free)
    clocked.now += SECOND
    assert clocked.acquire(free, "probe") == [1, 0]
    assert clocked.park(free) == 2 * SECOND
    clocked.settle("probe", answered=False)
    clocked.now += SECOND
    assert clocked.acquire(free, "t")[0] == 0
    clocked.now += SECOND
    assert clocked.acquire(free, "t") == [1, 0]  # the next one tries


@pytest.mark.parametrize(("kind", "step"), [("busy", SECOND), ("down", 2 * SECOND)])
def test_while_an_answer_is_slow_twice_as_many_may_try_each_time(clocked: Clocked, kind: str, step: int) -> None:
    free, tried = Scope("p", "m"), []
    if kind == "busy":
        clocked.park(free, SECOND)
    else:
        clocked.run({"op": "failed", "scope": free.name, "job": "j", "refused": True})
    clocked.now += SECOND
    for _ in range(4):
        tried.append(sum(clocked.acquire(free, f"t{clocked.now}-{n}")[0] for n in range(20)))
        clocked.now += step
    assert tried == [1, 1, 2, 4]


def test_a_probe_that_dies_or_is_not_sent_lets_another_try(clocked: Clocked) -> None:
    free = Scope("p", "m")
    clocked.park(free, SECOND)
    clocked.now += SECOND
    assert clocked.acquire(free, "dropped") == [1, 0]
    clocked.settle("dropped", None, answered=False)
    assert clocked.acquire(free, "dead") == [1, 0]
    clocked.end("dead")
    clocked.now += CHECK
    clocked.run({"op": "parks"})
    assert clocked.client.scard(LimitKey.LIMIT_PROBES + free.name) == 0
    [news] = clocked.run({"op": "parks"})
    assert [(park.name, park.left) for park in cast("Parks", news).parks] == [("p:m", 0)]  # until somebody is answered


def test_a_park_is_lifted_by_hand_and_forgotten_when_nobody_tries(clocked: Clocked, redis: Client) -> None:
    free, other = Scope("p", "m"), Scope("p", "other")
    clocked.park(free, 60 * SECOND)
    assert clocked.call(lift(free.name)) is True
    assert clocked.call(lift(free.name)) is False
    assert clocked.acquire(free, "t") == [1, 0]
    clocked.park(free, SECOND)
    clocked.now += 3601 * SECOND + SECOND
    clocked.park(other, SECOND)
    assert redis.zrange(LimitKey.LIMIT_PARKS, 0, -1) == [other.name.encode()]
    assert redis.exists(LimitKey.LIMIT_PARK + free.name) == 0


def test_parks_without_a_word_of_the_provider_grow_once_each_time(clocked: Clocked) -> None:
    free, parks = Scope("p", "m"), []
    for _ in range(8):
        parks.append(clocked.park(free) / SECOND)
        assert clocked.park(free) / SECOND == parks[-1]  # one more 429 of the same moment
        clocked.now += int(parks[-1] * SECOND)
    assert parks == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_limits_do_is_counted(clocked: Clocked, redis: Client) -> None:
    both = Scope("a|b", "m", Limits(rpm=60, concurrency=5), Limits(tpm=10**7))
    clocked.acquire(both, "one", 100)
    came, why = clocked.now, ""
    while (answer := clocked.acquire(both, "two", 100, waited=clocked.now - came, why=why))[0] == 0:
        clocked.now += answer[1]
        why = answer[2]
    waited = (clocked.now - came) // 1000
    assert waited > 400
    clocked.settle("one", 40)
    free = Scope("q", "m", known=False)
    clocked.park(free, SECOND)
    assert clocked.acquire(free, "three", 100)[::2] == [0, "parked"]
    clocked.now += SECOND
    assert clocked.acquire(free, "three", 100, waited=SECOND, why="parked")[0] == 1
    counted = {
        name.decode(): int(value) for name, value in cast("dict[bytes, bytes]", redis.hgetall(Key.METRICS)).items()
    }
    assert counted == {
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
    clocked.acquire(limit, "second", 100)
    level = field(clocked.client, "rpm_tat")
    clocked.now -= HOUR
    assert clocked.acquire(limit, "second", 100)[0] == 0
    assert clocked.acquire(free, "third")[1:] == [pytest.approx(2 * SECOND, abs=SECOND // 10), "parked"]
    assert field(clocked.client, "rpm_tat") == level
    clocked.now += 2 * SECOND
    assert clocked.acquire(free, "third") == [1, 0]
    clocked.now += 8 * SECOND
    clocked.end("dead")
    assert clocked.acquire(limit, "second", 100)[0] == 1
    assert clocked.acquire(slots, "next") == [1, 0]  # ten seconds have passed by the limits' own clock


def test_what_is_over_leaves_no_keys_but_the_levels(clocked: Clocked, redis: Client) -> None:
    limit = scope(rpm=60, tpm=600, concurrency=1)
    clocked.acquire(limit, "a", 100)
    clocked.acquire(limit, "b", 100)
    clocked.park(limit, SECOND)
    clocked.settle("a", 10)
    clocked.leave(limit, "b")
    clocked.now += 2 * SECOND
    assert clocked.acquire(limit, "c", 1)[0] == 1
    clocked.settle("c", 1)
    keys = {key for key in cast("list[bytes]", redis.keys("*")) if not key.startswith(Key.JOB.encode())}
    assert keys == {name.encode() for name in (Key.METRICS, LimitKey.LIMIT_LEVEL + "p", LimitKey.LIMIT_TIME)}
