"""Limits under load, the clock in the test's hand: workers claim, run, settle, come late and die, for minutes."""

import random
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.shared.config.file import ModelConfig
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import Client, client
from tandem.shared.store.keys import LimitKey
from tandem.shared.tasks.spec import Priority
from tests.support.limits.claims import Work, models
from tests.support.limits.limiter_script import SECOND, START, Clocked, scope
from tests.support.limits.traffic import Traffic

ONE = Work()


@pytest.fixture
def redis(valkey: str) -> Iterator[Client]:
    with client(valkey) as connection:
        yield connection


@pytest.fixture
def clocked(redis: Client) -> Clocked:
    return Clocked(redis)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), late=st.sampled_from([0.0, 0.05, 0.1]), rpm=st.sampled_from([120, 600]))
def test_requests_never_above_the_limit_and_the_limit_is_used(
    clocked: Clocked, redis: Client, seed: int, late: float, rpm: int
) -> None:
    redis.flushall()
    clocked.now = START
    traffic = Traffic(clocked, models(Limits(rpm=rpm)), seed=seed)
    traffic.put(*[ONE] * (2 * rpm))
    traffic.run(seconds=75, late=late, took=lambda r: r.uniform(0.1, 9))
    assert traffic.most_in_a_minute() <= rpm * 1.01
    assert len(traffic.started) >= rpm * 75 / 60 * (0.98 if late < 0.1 else 0.94)
    assert traffic.claims <= 75 * 3 * 15  # of three workers


def test_the_limit_is_used_again_after_outages(clocked: Clocked) -> None:
    traffic = Traffic(clocked, models(Limits(rpm=600)), seed=3)
    traffic.put(*[ONE] * 3000)
    away = [(at, at + 6) for at in range(10, 80, 12)]
    traffic.run(seconds=200, late=0.2, took=lambda r: r.uniform(0.1, 2), away=away)
    assert traffic.most_in_a_minute() <= 606
    assert traffic.starts(80, 200) >= 0.98 * 1200


def test_the_limit_is_used_though_workers_die(clocked: Clocked) -> None:
    traffic = Traffic(clocked, models(Limits(rpm=240, concurrency=30)), seed=5)
    traffic.put(*[ONE] * 900)
    traffic.run(seconds=120, took=lambda r: r.uniform(1, 6), dying=range(10, 90, 15))
    assert traffic.most_in_a_minute() <= 243
    assert traffic.starts(0, 120) >= 0.9 * 480
    assert len({one.job for one in traffic.started}) < len(traffic.started)  # some began twice
    assert cast("int", clocked.client.zcard(LimitKey.LIMIT_HELD + "p")) <= 30


@pytest.mark.parametrize("limit", [Limits(rpm=99), Limits(rpm=99, concurrency=20)], ids=["rate", "and slots"])
@pytest.mark.parametrize(("late", "least"), [(0.05, 0.97), (0.5, 0.95)])
def test_a_low_limit_is_used_though_workers_come_late(
    clocked: Clocked, limit: Limits, late: float, least: float
) -> None:
    traffic = Traffic(clocked, models(limit), seed=4)
    traffic.put(*[ONE] * 250)
    traffic.run(seconds=140, late=late, took=lambda r: r.uniform(0.02, 0.25))
    assert traffic.most_in_a_minute() <= 100
    assert traffic.starts(20, 140) >= least * 99 * 2
    assert traffic.claims <= 140 * 3 * 4


@pytest.mark.parametrize(("reserved", "least"), [((100, 300), 0.9), ((1000, 1000), 0.85)])
def test_tokens_are_used_up_however_generous_the_reservations(
    clocked: Clocked, reserved: tuple[int, int], least: float
) -> None:
    limit, draw = 100_000, random.Random(7)  # noqa: S311
    traffic = Traffic(clocked, models(Limits(tpm=limit)), seed=1)
    traffic.put(*[Work(tokens=draw.randint(*reserved), used=draw.randint(100, 300)) for _ in range(1000)])
    traffic.run(seconds=80, late=0.05, took=lambda r: r.uniform(0.5, 3))
    used = sum(one.tokens for one in traffic.started)
    assert traffic.most_in_a_minute(lambda tokens: tokens) <= limit * 1.02
    assert used >= limit * 80 / 60 * least


def test_what_others_used_little_of_may_exceed_the_limit_by_twice_at_most(clocked: Clocked) -> None:
    limit, reserved = 60_000, 20_000
    for n in range(60):  # a tenth is charged from now on, the least that there is
        clocked.acquire(scope(tpm=limit), f"modest{n}", reserved)
        clocked.settle(f"modest{n}", 10)
        clocked.now += 60 * SECOND
    traffic = Traffic(clocked, models(Limits(tpm=limit)), seed=9)
    traffic.put(*[Work(tokens=reserved, used=reserved)] * 100)
    traffic.run(seconds=240, took=lambda _: 30)
    assert traffic.most_in_a_minute(lambda tokens: tokens) <= limit * 3
    used = sum(one.tokens for one in traffic.started)
    assert limit * 4 * 0.7 <= used <= limit * (4 + 2)


@pytest.mark.parametrize(("took", "share"), [(10, 0.15), (20, 0.25), (90, 0.5)])
def test_tokens_are_used_up_by_answers_that_take_long(clocked: Clocked, took: int, share: float) -> None:
    limit = 600_000
    for n in range(10):
        clocked.acquire(scope(tpm=limit), f"before{n}", 4000)
        clocked.settle(f"before{n}", int(4000 * share))
    clocked.now += 60 * SECOND
    traffic = Traffic(clocked, models(Limits(tpm=limit)), seed=10, places=1000)
    jobs = int(limit * (took + 120) / 60 / 4000 / share * 1.1)
    traffic.put(*[Work(tokens=4000, used=int(4000 * share))] * jobs)
    traffic.run(seconds=120, took=lambda r: r.uniform(0.5 * took, 1.5 * took))
    used = sum(one.tokens for one in traffic.started)
    assert traffic.most_in_a_minute(lambda tokens: tokens) <= limit * 1.02
    assert used >= limit * 2 * 0.98


def test_slots_are_never_more_than_there_are_and_they_are_used(clocked: Clocked) -> None:
    traffic = Traffic(clocked, models(Limits(concurrency=5)), seed=2)
    traffic.put(*[ONE] * 400)
    traffic.run(seconds=60, took=lambda r: r.uniform(0.5, 1.5))
    assert traffic.most_at_once <= 5
    assert len(traffic.started) >= 60 * 5 * 0.9
    assert traffic.claims <= 5 * len(traffic.started)


def test_who_waits_for_a_slot_looks_seldom(clocked: Clocked) -> None:
    traffic = Traffic(clocked, models(Limits(concurrency=1)), seed=2)
    traffic.put(*[ONE] * 10)
    traffic.run(seconds=60, took=lambda _: 30)
    assert len(traffic.started) == 2
    assert traffic.claims <= 60 * 3 * 2.5  # each worker looks twice a second whatever happens


def test_a_big_request_is_not_starved_by_small_ones(clocked: Clocked) -> None:
    traffic = Traffic(clocked, models(Limits(tpm=60_000)), seed=6)
    traffic.put(*[Work(tokens=100, used=100, owner="small")] * 1500)
    traffic.put(Work(tokens=30_000, used=30_000, owner="big"))
    traffic.run(seconds=60, took=lambda r: r.uniform(0.5, 2))
    big = [one.at for one in traffic.started if one.tokens == 30_000]
    assert big
    assert big[0] - START <= 15 * SECOND
    assert traffic.most_in_a_minute(lambda tokens: tokens) <= 60_000 * 1.02


def test_a_lane_whose_own_limit_is_full_holds_no_other_lane_up(clocked: Clocked) -> None:
    limited = models(Limits(rpm=600), slow=ModelConfig(rpm=12), fast=ModelConfig())
    traffic = Traffic(clocked, limited, seed=8)
    traffic.put(*[Work(model="slow")] * 200, *[Work(model="fast")] * 900)
    traffic.run(seconds=60, took=lambda r: r.uniform(0.5, 3))
    assert 11 <= traffic.starts(0, 60, "slow") <= 13
    assert traffic.starts(0, 60) >= 0.98 * 600
    assert traffic.most_in_a_minute() <= 606


@pytest.mark.parametrize("rpm", [120, 600])
def test_high_starts_within_two_spacings_where_others_wait_for_a_full_limit(clocked: Clocked, rpm: int) -> None:
    traffic, draw = Traffic(clocked, models(Limits(rpm=rpm)), seed=11), random.Random(12)  # noqa: S311
    traffic.put(*[Work(priority=priority) for _ in range(rpm) for priority in (Priority.NORMAL, Priority.LOW)])
    came: dict[str, int] = {}

    def submit() -> None:
        [job] = traffic.put(Work(priority=Priority.HIGH))
        came[job] = clocked.now
        traffic.at(clocked.now + int(draw.uniform(2.5, 7.5) * 60 / rpm * SECOND), submit)

    traffic.at(START + SECOND, submit)
    traffic.run(seconds=60, late=0.005, took=lambda _: 0.3)
    waited = [one.at - came[one.job] for one in traffic.started if one.job in came]
    assert len(waited) >= rpm / 5 * 0.9
    assert max(waited) <= 2 * 60 / rpm * SECOND
    assert traffic.starts(0, 60) >= 0.98 * rpm
