"""A claim takes what may start now by the limits of its model, and charges them; nothing is booked before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.model import Status, at
from tandem.shared.limits.model import Limits, Scope
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key, LimitKey
from tandem.shared.store.leases import Lease
from tandem.shared.store.limits.operations import lift, operate
from tandem.shared.store.queues import QueueName
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import TTL, get
from tests.support.limits.claims import Models, Work, claim, models, put_all, store, succeeded
from tests.support.limits.limiter_script import SECOND, Clocked, scope

ONE_A_SECOND = models(Limits(rpm=60))
SLOT = models(Limits(concurrency=1))
WORK = Work(tokens=10, used=10)
LOOK = SECOND  # a lane that could start nothing is looked at again after so long at most
FREE = Scope("p", "m")


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def take(clocked: Clocked, limited: Models, limit: int = 100) -> list[Lease]:
    leased: list[Lease] = clocked.call(claim(limit, limited)).leases
    return leased


def settle(clocked: Clocked, lease: Lease, tokens: int = 1, *, answered: bool = True) -> None:
    """End the first request of a run, and the run."""
    ticket = f"{lease.id}:{lease.token}:0"
    clocked.call(operate([{"op": "settle", "ticket": ticket, "tokens": tokens, "answered": answered}]))
    clocked.call(succeeded(lease, tokens))


def level(clocked: Clocked, name: str = "p") -> dict[bytes, bytes]:
    return cast("dict[bytes, bytes]", clocked.client.hgetall(LimitKey.LIMIT_LEVEL + name))


def test_what_is_not_limited_starts_at_once_and_holds_nothing(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 50)
    held = take(clocked, models(Limits()))
    assert [(lease.granted, lease.delay) for lease in held] == [("", 0)] * 50
    assert clocked.client.keys("tandem:limit:[^t]*") == []


def test_a_start_is_granted_with_the_claim(clocked: Clocked) -> None:
    limited = models(Limits(rpm=2400, tpm=1_200_000, concurrency=30))  # one each 25 ms, and 21 at once
    put_all(clocked, *[WORK] * 50)
    held = take(clocked, limited)
    assert [lease.granted for lease in held] == ["p:m"] * len(held)
    assert [round(lease.delay) for lease in held] == [0] * 21 + [25]
    tickets = {f"{lease.id}:{lease.token}:0".encode() for lease in held}
    assert set(cast("list[bytes]", clocked.client.hkeys(LimitKey.LIMIT_RESERVED))) == tickets
    started = {get(Book(clocked.client), lease.id).started_at for lease in held}
    assert started == {at(clocked.now // 1000 + delay) for delay in (0, 25)}


def test_a_claim_says_when_it_is_worth_to_look_again(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 5)
    assert len(take(clocked, ONE_A_SECOND)) == 1
    looked = 0
    for _ in range(20):
        claimed = clocked.call(claim(100, ONE_A_SECOND))
        if claimed.leases:
            break
        assert claimed.next_due is not None
        looked += 1
        clocked.now += max(claimed.next_due // timedelta(microseconds=1), 1000)
    assert [round(lease.delay) for lease in claimed.leases] == [pytest.approx(50, abs=50)]
    assert looked <= 3


def test_nothing_is_charged_where_the_models_own_limit_is_full(clocked: Clocked) -> None:
    limited = models(Limits(rpm=60_000), m=ModelConfig(rpm=60))
    put_all(clocked, *[WORK] * 5, *[replace(WORK, model="other")] * 5)
    held = take(clocked, limited)
    assert sorted(lease.granted for lease in held) == ["p:m"] + ["p:other"] * 5
    assert int(float(level(clocked)[b"rpm_sent"])) == 6
    assert int(float(level(clocked, "p:m")[b"rpm_sent"])) == 1


def test_a_request_that_is_too_large_is_let_through_without_a_grant(clocked: Clocked) -> None:
    limited = models(Limits(tpm=1000, rpm=60))
    [large] = put_all(clocked, replace(WORK, tokens=1001))
    [lease] = take(clocked, limited)
    assert (lease.id, lease.granted) == (large, "")
    assert level(clocked) == {}


def test_a_full_minute_fits(clocked: Clocked) -> None:
    put_all(clocked, replace(WORK, tokens=1000))
    [lease] = take(clocked, models(Limits(tpm=1000)))
    assert lease.granted == "p:m"


def test_a_claim_whose_answer_is_lost_is_asked_again_and_charged_once(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 20)
    call = claim(100, models(Limits(rpm=6, concurrency=1)))
    for _ in range(3):
        [lease] = clocked.call(call).leases
        assert lease.granted == "p:m"
    assert float(level(clocked)[b"rpm_tat"]) - clocked.now == pytest.approx(10 * SECOND, rel=0.01)
    assert clocked.client.zcard(LimitKey.LIMIT_HELD + "p") == 1


def test_a_claim_that_is_disclaimed_gives_back_what_it_was_charged(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 20)
    call = claim(100, models(Limits(rpm=6, concurrency=1)))
    assert len(clocked.call(call).leases) == 1
    assert clocked.call(leases.disclaim("llm", call, worker="w")) == 1
    assert float(level(clocked)[b"rpm_tat"]) <= clocked.now
    assert clocked.client.zcard(LimitKey.LIMIT_HELD + "p") == 0


@pytest.mark.parametrize("limited", [ONE_A_SECOND, SLOT], ids=["rate", "slot"])
def test_a_hundred_and_fifty_cancelled_jobs_keep_no_places(clocked: Clocked, limited: Models) -> None:
    ids = put_all(clocked, *[WORK] * 151)
    [running] = take(clocked, limited)
    clocked.now += SECOND // 4
    assert take(clocked, limited) == []
    clocked.call_all([commands.cancel(id_, ttl=TTL) for id_ in ids if id_ != running.id])
    settle(clocked, running)
    [newcomer] = put_all(clocked, replace(WORK, owner="bob"))
    clocked.now += SECOND
    [lease] = take(clocked, limited)
    assert (lease.id, lease.delay) == (newcomer, 0)


def test_a_raised_limit_has_effect_with_the_next_look(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 50)
    assert len(take(clocked, models(Limits(rpm=1)))) == 1
    assert take(clocked, models(Limits(rpm=1))) == []
    clocked.now += LOOK
    assert len(take(clocked, models(Limits(rpm=6000)))) >= 30


def test_a_lowered_limit_has_effect_at_once(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 50)
    assert len(take(clocked, models(Limits(rpm=6000)), limit=5)) == 5
    clocked.now += SECOND // 100
    assert len(take(clocked, models(Limits(rpm=6)))) <= 1


@pytest.mark.parametrize("limited", [ONE_A_SECOND, SLOT], ids=["rate", "slot"])
def test_high_starts_before_three_hundred_low_that_wait_for_a_limit(clocked: Clocked, limited: Models) -> None:
    put_all(clocked, *[replace(WORK, priority=Priority.LOW)] * 300)
    [running] = take(clocked, limited)
    clocked.now += SECOND // 10
    assert take(clocked, limited) == []
    [high] = put_all(clocked, replace(WORK, priority=Priority.HIGH))
    settle(clocked, running)
    clocked.now += SECOND
    assert [lease.id for lease in take(clocked, limited)] == [high]


@pytest.mark.parametrize("limited", [models(Limits(rpm=6)), SLOT], ids=["rate", "slot"])
def test_expires_in_is_heeded_behind_a_limit(clocked: Clocked, limited: Models) -> None:
    put_all(clocked, WORK)
    [running] = take(clocked, limited)
    [late] = put_all(clocked, replace(WORK, expires_in=timedelta(seconds=8)))
    [patient] = put_all(clocked, replace(WORK, expires_in=timedelta(seconds=80)))
    for _ in range(9):
        clocked.now += SECOND
        clocked.call(leases.renew("llm", [running], worker="w"))
        assert take(clocked, limited) == []
    settle(clocked, running)
    clocked.now += SECOND
    assert [lease.id for lease in take(clocked, limited)] == [patient]
    assert get(Book(clocked.client), late).status is Status.EXPIRED


def test_a_paused_queue_charges_nothing_and_goes_on_at_once(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 5)
    clocked.call(queues.pause(QueueName.LLM, paused=True))
    for _ in range(5):
        assert take(clocked, ONE_A_SECOND) == []
        clocked.now += SECOND
    assert level(clocked) == {}
    clocked.call(queues.pause(QueueName.LLM, paused=False))
    assert [lease.delay for lease in take(clocked, ONE_A_SECOND)] == [0]


def test_what_is_settled_lets_the_next_one_start_at_once(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 3)
    [running] = take(clocked, SLOT)
    assert take(clocked, SLOT) == []
    clocked.client.delete(Key.WAKEUP + "llm")
    settle(clocked, running)
    assert clocked.client.llen(Key.WAKEUP + "llm") == 1  # somebody is woken for it
    assert len(take(clocked, SLOT)) == 1


def test_the_slot_of_a_dead_run_comes_back_with_a_claim(clocked: Clocked) -> None:
    [first] = put_all(clocked, WORK)
    [dead] = take(clocked, SLOT)
    put_all(clocked, WORK)
    clocked.call(commands.cancel(dead.id, ttl=TTL))
    began = clocked.now
    while not (held := take(clocked, SLOT)):
        clocked.now += SECOND
    assert clocked.now - began <= 11 * SECOND
    assert held[0].id != first


def test_after_a_park_a_claim_starts_one_and_its_answer_lets_the_others_follow(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 30)
    clocked.park(FREE, 2 * SECOND)
    limited = models(Limits())
    assert take(clocked, limited) == []
    clocked.now += 2 * SECOND
    [probe] = take(clocked, limited)
    assert probe.granted == "p:m"
    for _ in range(5):
        assert take(clocked, limited) == []
        clocked.now += SECOND // 8
    settle(clocked, probe)
    clocked.now += SECOND // 8
    assert len(take(clocked, limited)) == 29


def test_while_a_park_is_near_its_end_nobody_starts(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 30)
    clocked.park(FREE, SECOND)
    clocked.now += SECOND - SECOND // 50
    assert take(clocked, models(Limits(rpm=60_000))) == []


def test_the_end_of_a_park_by_hand_brings_back_who_left_a_shared_lane_for_it(clocked: Clocked) -> None:
    clocked.call_all(store([replace(WORK.job(), lane="1 ~ odd")]))
    clocked.park(Scope("p", "odd"), 600 * SECOND)
    assert take(clocked, models(Limits())) == []
    assert clocked.call(lift("p:odd")) is True
    lifted = clocked.now
    while not take(clocked, models(Limits())):
        clocked.now += SECOND
    assert clocked.now - lifted <= 11 * SECOND


def test_what_no_settings_name_any_more_leaves_no_keys_for_ever(clocked: Clocked) -> None:
    limited = models(Limits(rpm=60), m=ModelConfig(rpm=6))
    put_all(clocked, *[WORK] * 5)
    take(clocked, limited)
    clocked.acquire(Scope("p", "m", Limits(rpm=60), Limits(rpm=6)), "later")
    clocked.now += SECOND
    take(clocked, limited)
    take(clocked, limited)
    for kind in ("level", "line", "waiters", "stalled"):
        keys = cast("list[bytes]", clocked.client.keys(f"tandem:limit:{kind}*"))
        assert keys
        assert all(cast("int", clocked.client.pttl(key)) > 0 for key in keys)


def test_a_park_of_one_model_holds_no_other_up(clocked: Clocked) -> None:
    put_all(clocked, *[WORK] * 5, *[replace(WORK, model="other")] * 5)
    clocked.park(FREE, 60 * SECOND)
    assert len(take(clocked, models(Limits()))) == 5


def parked(clocked: Clocked, kind: str, delay: int) -> None:
    if kind == "busy":
        clocked.park(scope(model="big"), delay)
    else:
        clocked.run({"op": "failed", "scope": "p:big", "job": "j", "refused": True})


@pytest.mark.parametrize(
    ("kind", "delay", "granted"),
    [("busy", 60, ["p:small"] * 2), ("busy", 10, []), ("down", 1, ["p:small"] * 2)],
    ids=["long", "short", "down"],
)
def test_a_fallback_is_asked_as_the_settings_say(clocked: Clocked, kind: str, delay: int, granted: list[str]) -> None:
    big = ModelConfig(fallbacks=("small",), fallback_after=timedelta(seconds=30))
    limited: Any = models(Limits(rpm=6000), big=big, small=ModelConfig(concurrency=2))
    put_all(clocked, *[replace(WORK, model="big")] * 5)
    parked(clocked, kind, delay * SECOND)
    assert [lease.granted for lease in take(clocked, limited)] == granted
