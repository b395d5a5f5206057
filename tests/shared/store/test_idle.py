"""Idle jobs: they start where nothing else waits, and leave a fifth of each limit, and of a worker, to others."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import NO_MODELS, Lease
from tandem.shared.store.limits.operations import operate
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import NOTHING, TASKS, TTL, both, get, put
from tests.support.jobs import claim as claim_any
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Models, Work, claim, models, put_all
from tests.support.limits.limiter_script import SECOND, START, Clocked
from tests.support.limits.traffic import Traffic

IDLE = Work(priority=Priority.IDLE)
OTHERS = [priority for priority in Priority if priority is not Priority.IDLE]
LOOK = SECOND  # a lane that could start nothing is looked at again after so long at most
AT_LIMIT = models(Limits(), a=ModelConfig(rpm=1))  # of the model `a` one starts a minute


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def take(clocked: Clocked, limit: int, limited: Models = NO_MODELS, *, idle: int = 0) -> list[Lease]:
    leased: list[Lease] = clocked.call(claim(limit, limited, idle=idle)).leases
    return leased


def test_they_go_after_all_others_of_any_owner_however_long_they_have_waited(clocked: Clocked) -> None:
    idle = put_all(clocked, *[replace(IDLE, owner=f"ann{n % 3}") for n in range(6)])
    clocked.now += 60 * SECOND
    put_all(clocked, *[Work(owner="bob", priority=priority) for priority in OTHERS for _ in range(7)])
    held = [lease for _ in range(7) for lease in take(clocked, 3)]
    assert {lease.owner for lease in held} == {"bob"}
    assert sorted(lease.id for lease in take(clocked, 100)) == sorted(idle)


def test_owners_take_turns_by_what_their_idle_jobs_cost(clocked: Clocked) -> None:
    put_all(clocked, *[replace(IDLE, owner="flood")] * 300, *[replace(IDLE, owner="big", tokens=3)] * 100)
    put_all(clocked, *[replace(IDLE, owner="cy")] * 300)
    counted = Counter(lease.owner for _ in range(14) for lease in take(clocked, 10))
    assert {owner: round(n / 20) for owner, n in counted.items()} == {"flood": 3, "cy": 3, "big": 1}


def test_one_that_is_handed_back_goes_first_of_its_like_alone(clocked: Clocked) -> None:
    put_all(clocked, *[IDLE] * 3)
    lease = take(clocked, 3)[1]
    clocked.call(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    put_all(clocked, *[IDLE] * 3, *[Work()] * 3)
    assert lease.id not in {other.id for other in take(clocked, 3)}
    assert [other.id for other in take(clocked, 1)] == [lease.id]


def test_they_leave_a_fifth_of_a_worker_while_others_wait_anywhere(clocked: Clocked) -> None:
    put_all(clocked, *[Work(model="a")] * 2, *[replace(IDLE, model="b")] * 40)
    assert len(take(clocked, 10, AT_LIMIT, idle=8)) == 8
    assert take(clocked, 2, AT_LIMIT, idle=0) == []
    assert take(clocked, 1, AT_LIMIT, idle=-1) == []
    [waiting] = cast("list[bytes]", clocked.client.zrange("tandem:lane:jobs:normal:ann:a", 0, -1))
    clocked.call(commands.cancel(waiting.decode(), ttl=TTL))
    clocked.now += LOOK
    assert len(take(clocked, 2, AT_LIMIT, idle=0)) == 2, "nobody else waits any more"


def test_a_lane_whose_others_wait_for_a_limit_starts_none(clocked: Clocked) -> None:
    put_all(clocked, *[Work(model="a")] * 2, *[replace(IDLE, model="a")] * 2)
    assert len(take(clocked, 10, AT_LIMIT, idle=8)) == 1
    for _ in range(20):
        clocked.now += SECOND
        assert take(clocked, 10, AT_LIMIT, idle=8) == []


def test_who_must_wait_is_looked_at_once_a_second(clocked: Clocked) -> None:
    put_all(clocked, *[Work(model="a")] * 2, *[replace(IDLE, model="a")] * 2, *[replace(IDLE, model="b")] * 9)
    take(clocked, 4, AT_LIMIT, idle=2)
    due = clocked.call(claim(2, AT_LIMIT, idle=0)).next_due
    assert due is not None
    assert due > timedelta(milliseconds=900), "idle jobs that may have no place make nobody look"


def idle_traffic(clocked: Clocked, limits: Limits, work: Work = IDLE, *, took: float = 1.0) -> Traffic:
    traffic = Traffic(clocked, models(limits), seed=1)
    traffic.put(*[work] * 1500)
    traffic.run(seconds=120, took=lambda r: r.uniform(0.5, 1.5) * took)
    return traffic


@pytest.mark.parametrize("rpm", [60, 300])
def test_they_use_four_fifths_of_the_requests(clocked: Clocked, rpm: int) -> None:
    traffic = idle_traffic(clocked, Limits(rpm=rpm))
    assert 0.76 * rpm <= traffic.starts(60, 120) <= 0.8 * rpm + 1
    assert traffic.claims <= 120 * 3 * 12


def test_they_use_four_fifths_of_the_tokens(clocked: Clocked) -> None:
    traffic = idle_traffic(clocked, Limits(tpm=60_000), replace(IDLE, tokens=600, used=300))
    assert 0.72 <= traffic.starts(60, 120) * 300 / 60_000 <= 0.82


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 1), (5, 4), (30, 24)])
def test_they_hold_four_fifths_of_the_slots_and_one_at_least(clocked: Clocked, slots: int, most: int) -> None:
    traffic = idle_traffic(clocked, Limits(concurrency=slots), took=2.0)
    assert traffic.most_at_once == most
    assert traffic.starts(60, 120) >= 0.6 * most * 30


def test_what_the_provider_says_is_left_counts(clocked: Clocked) -> None:
    limited = models(Limits(rpm=600))
    put_all(clocked, *[IDLE] * 50)
    [lease] = take(clocked, 1, limited)
    ticket = f"{lease.id}:{lease.token}:0"
    told = {"op": "settle", "ticket": ticket, "tokens": 1, "answered": True, "seen": {"rpm": (600, 60)}}
    clocked.call(operate([told]))
    clocked.now += LOOK
    assert take(clocked, 9, limited) == [], "60 of 600 are left"
    [normal] = put_all(clocked, Work())
    assert [one.id for one in take(clocked, 9, limited)] == [normal]
    clocked.now += 10 * SECOND
    assert len(take(clocked, 9, limited)) > 0


def mixed(clocked: Clocked, share: float, *, idle: int) -> tuple[Traffic, Sequence[float]]:
    """Let normal jobs come at random, which use that share of 600 requests a minute; gives how long they waited."""
    traffic, draw, came = Traffic(clocked, models(Limits(rpm=600)), seed=1), random.Random(3), {}  # noqa: S311
    traffic.put(*[IDLE] * idle)

    def arrive() -> None:
        came.update(dict.fromkeys(traffic.put(Work(owner="bob")), clocked.now))

    at = 0.0
    while (at := at + draw.expovariate(share * 10)) < 120:
        traffic.at(START + int(at * SECOND), arrive)
    traffic.run(seconds=120, took=lambda r: r.uniform(0.5, 1.5))
    waits = sorted((one.at - came[one.job]) / SECOND for one in traffic.started if one.job in came)
    return traffic, waits


def test_they_have_what_others_leave_of_four_fifths_and_slow_nobody_down(clocked: Clocked) -> None:
    _, alone = mixed(clocked, 0.5, idle=0)
    clocked.client.flushall()
    clocked.now = START
    traffic, beside = mixed(clocked, 0.5, idle=1000)
    idle = [one for one in traffic.started if one.priority is Priority.IDLE]
    assert 0.2 <= len(idle) / 1200 <= 0.32
    assert traffic.starts(60, 120) <= 0.83 * 600
    assert len(beside) == len(alone)
    assert beside[int(len(beside) * 0.99)] <= alone[int(len(alone) * 0.99)] + 0.1


def test_where_others_use_four_fifths_nothing_idle_starts(clocked: Clocked) -> None:
    traffic, _ = mixed(clocked, 0.92, idle=100)
    late = [one for one in traffic.started if one.priority is Priority.IDLE and one.at > START + 20 * SECOND]
    assert len(late) <= 0.02 * 1000


def commands_of(clocked: Clocked, *work: Work) -> int:
    clocked.client.flushall()
    put_all(clocked, *work)
    take(clocked, 0)
    clocked.client.config_resetstat()
    assert len(take(clocked, 10)) == 10
    stats = cast("dict[str, Any]", clocked.client.info("commandstats"))
    return sum(stat["calls"] for name, stat in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_info")))


def test_a_claim_costs_the_same_however_many_idle_jobs_wait(clocked: Clocked) -> None:
    few = commands_of(clocked, *[replace(IDLE, owner=f"t{n}") for n in range(20)])
    assert commands_of(clocked, *[replace(IDLE, owner=f"t{n}") for n in range(2000)]) <= few * 1.05
    beside = commands_of(clocked, *[Work()] * 20)
    assert commands_of(clocked, *[Work()] * 20, *[replace(IDLE, owner=f"t{n}") for n in range(2000)]) <= beside * 1.05


@both
def test_both_pools_serve_them_last_and_keep_their_books(book: Book, queue: str) -> None:
    idle = [put(book, TASKS[queue], priority=Priority.IDLE) for _ in range(5)]
    others = [put(book, TASKS[queue], priority=priority) for priority in OTHERS for _ in range(5)]
    assert book.run(commands.cancel(idle.pop(2), ttl=TTL)) == "queued"
    assert_keyspace(book.client)
    order: list[str] = []
    while leased := (claim_any(book, queue) if queue == "sync" else book.run(claim(1, NO_MODELS)).leases):
        order += [lease.id for lease in leased]
    assert set(order[: len(others)]) == set(others)
    assert order[len(others) :] == idle
    assert get(book, idle[0]).priority == Priority.IDLE
    assert_keyspace(book.client)
