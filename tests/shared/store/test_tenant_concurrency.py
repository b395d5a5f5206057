"""How many jobs of a tenant run at once: never more than may, and as many where they wait; it holds up nobody else."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, maintenance
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import NO_MODELS, Lease
from tandem.shared.store.scripts import LEASE, RECOUNT
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import FAILURE, NOTHING, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Work, claim, put_all, succeeded, take
from tests.support.limits.fairness import most, most_sync, told
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.sync_lane import adopt_and_take, claimed, enqueue, job, put

US = SECOND // 1_000_000


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def owners(held: list[Lease]) -> Counter[str]:
    return Counter(lease.owner for lease in held)


def take_sync(clocked: Clocked, places: int) -> list[Lease]:
    """Claim for so many processes of the sync pool."""
    return [lease for n in range(places) for lease in claimed(clocked, worker=f"w{n}").leases]


def end(clocked: Clocked, lease: Lease) -> None:
    clocked.call(succeeded(lease, 100))


def tick(clocked: Clocked) -> int:
    found: int = clocked.call(maintenance.recount_running())
    return found


@pytest.mark.parametrize("room", [1, 3, 10])
def test_a_concurrency_is_never_exceeded_and_used_fully(clocked: Clocked, room: int) -> None:
    clocked.call(most(ann=4, bob=7))
    put_all(clocked, *[Work(owner=owner, model=f"m{n % 3}") for n in range(60) for owner in ("ann", "bob", "cy")])
    held: list[Lease] = []
    for turn in range(60):
        for worker in range(3):
            held += clocked.call(claim(room, NO_MODELS, f"w{worker}")).leases
        running = owners(held)
        assert running["ann"] <= 4
        assert running["bob"] <= 7
        if turn > 20:
            assert (running["ann"], running["bob"]) == (4, 7)
        for _ in range(min(len(held) - 25, 3 * room)):
            end(clocked, held.pop(turn % len(held)))
    assert_keyspace(clocked.client)


def test_the_sync_pool_s_is_never_exceeded_and_used_fully(clocked: Clocked) -> None:
    clocked.call(most_sync(ann=2))
    kinds = [(owner, priority) for owner in ("ann", "bob") for priority in (Priority.NORMAL, Priority.IDLE)]
    put(clocked, *[job(*kind) for kind in kinds for _ in range(9)])
    held: list[Lease] = []
    for _ in range(12):
        held += take_sync(clocked, 6 - len(held))
        assert owners(held)["ann"] <= 2
        assert len(held) == 6
        assert_keyspace(clocked.client)
        clocked.now += SECOND
        end(clocked, held.pop(0))
    assert owners(held)["ann"] == 2


def test_others_have_the_places_that_it_may_not_have_and_it_has_all_of_its_own_at_once(clocked: Clocked) -> None:
    clocked.call(most(ann=2))
    put_all(clocked, *[Work(owner=owner, tokens=100) for owner in ("ann", "bob") for _ in range(100)])
    held = take(clocked, 25)
    assert owners(held) == {"ann": 2, "bob": 23}
    for lease in [one for one in held if one.owner == "ann"]:
        end(clocked, lease)
        assert "ann" in owners(take(clocked, 1)), "it does not wait behind those who had turns meanwhile"


def test_who_stands_aside_saves_up_no_turns(clocked: Clocked) -> None:
    clocked.call(most(ann=1))
    put_all(clocked, *[Work(owner=owner, tokens=100) for owner in ("ann", "bob") for _ in range(300)])
    for _ in range(10):
        take(clocked, 20)
    clocked.call(most())
    assert owners([lease for _ in range(5) for lease in take(clocked, 10)])["ann"] == pytest.approx(25, abs=2)


def test_a_debt_outlasts_standing_aside(clocked: Clocked) -> None:
    clocked.call(most(ann=2))
    put_all(clocked, *[Work(owner=owner, tokens=100) for owner in ("ann", "bob") for _ in range(100)])
    held = take(clocked, 8)
    [dear, cheap] = [lease for lease in held if lease.owner == "ann"]
    clocked.call(succeeded(dear, 3100))
    end(clocked, cheap)
    assert owners(take(clocked, 25)) == {"bob": 25}
    assert owners(take(clocked, 20))["ann"] == 2


def test_who_stands_aside_costs_a_claim_nothing(clocked: Clocked) -> None:
    names = [f"t{n}" for n in range(1000)]
    clocked.call(most(**dict.fromkeys(names, 1)))
    put_all(clocked, *[Work(owner=name) for name in names for _ in range(3)])
    while take(clocked, 25):
        pass
    while clocked.client.exists(Key.LANES):
        take(clocked, 25)
    put_all(clocked, Work(owner="bob"), Work(owner="bob"))
    first = commands_of(clocked, lambda: take(clocked))
    assert first < 70, "of a claim that leases a job"
    assert commands_of(clocked, lambda: take(clocked)) < 70
    take(clocked)
    assert commands_of(clocked, lambda: take(clocked)) < 30, "of a claim that finds nobody"
    assert_keyspace(clocked.client)


def commands_of(clocked: Clocked, act: Callable[[], Any]) -> int:
    """Count the commands that Redis runs meanwhile."""
    before = count(clocked)
    act()
    return count(clocked) - before - 1


def count(clocked: Clocked) -> int:
    stats: Any = clocked.client.info("commandstats")
    return sum(one["calls"] for one in stats.values())


def test_where_nothing_is_said_it_costs_one_look_a_claim(clocked: Clocked) -> None:
    put_all(clocked, *[Work()] * 30)
    take(clocked, 1)
    asked = count_of(clocked, "exists")
    held = take(clocked, 20)
    assert len(held) == 20
    one = count_of(clocked, "exists") - asked
    asked = count_of(clocked, "exists")
    take(clocked, 1)
    assert count_of(clocked, "exists") - asked == one, "as many however many it leases"
    assert not list(clocked.client.scan_iter("tandem:running:*"))


def count_of(clocked: Clocked, command: str) -> int:
    stats: Any = clocked.client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


def test_it_is_raised_lowered_and_removed(clocked: Clocked) -> None:
    put_all(clocked, *[Work(model=f"m{n % 2}") for n in range(60)])
    clocked.call(most(ann=5))
    held = take(clocked, 10)
    assert len(held) == 5
    clocked.call(most(ann=8))
    held += take(clocked, 10)
    assert len(held) == 8
    clocked.call(most(ann=3))
    for left in (7, 6, 5, 4, 3):
        end(clocked, held.pop())
        assert (take(clocked, 10), len(held)) == ([], left)
    end(clocked, held.pop())
    held += take(clocked, 10)
    assert len(held) == 3
    clocked.call(most(bob=1))
    held += take(clocked, 10)
    assert len(held) == 13
    assert_keyspace(clocked.client)
    for lease in held:
        end(clocked, lease)
    assert not list(clocked.client.scan_iter("tandem:running:*"))
    assert_keyspace(clocked.client)


def test_what_runs_already_counts(clocked: Clocked) -> None:
    put_all(clocked, *[Work()] * 20)
    held = take(clocked, 4)
    clocked.call(most(ann=5))
    held += take(clocked, 10)
    assert len(held) == 5
    end(clocked, held[0])
    assert len(take(clocked, 10)) == 1


def lose(clocked: Clocked, lease: Lease) -> None:
    """Let its worker die."""
    for _ in range(1 + 2 * round(LEASE.total_seconds())):
        clocked.now += SECOND // 2
        clocked.call(leases.renew("llm", [], worker="other"))
    clocked.call(maintenance.recover_expired_leases(ttl=TTL))
    take(clocked, 0)
    assert lease.id


ENDS: dict[str, Callable[[Clocked, Lease], Any]] = {
    "succeeded": end,
    "retried": lambda clocked, lease: clocked.call(give_up(lease, RetryIn(NOTHING, FAILURE))),
    "given back": lambda clocked, lease: clocked.call(give_up(lease, HandBack(NOTHING))),
    "crashed": lambda clocked, lease: clocked.call(leases.crash(lease, ttl=TTL, delay=NOTHING)),
    "cancelled": lambda clocked, lease: clocked.call(commands.cancel(lease.id, ttl=TTL)),
    "lost": lose,
}


def give_up(lease: Lease, decision: Any) -> Any:
    return leases.give_up(lease, decision, usage=Usage(), ttl=TTL)


@pytest.mark.parametrize("queue", ["llm", "sync"])
@pytest.mark.parametrize("how", ENDS)
def test_however_a_run_ends_its_place_is_free(clocked: Clocked, queue: str, how: str) -> None:
    clocked.call(told({"ann": {"concurrency": {"llm": 1, "sync": 1}}}))
    if queue == "llm":
        put_all(clocked, *[Work()] * 3)
    else:
        put(clocked, job("ann"), job("ann"), job("ann"))

    def claims() -> list[Lease]:
        return take(clocked, 5) if queue == "llm" else take_sync(clocked, 3)

    for _ in range(2):
        [lease] = claims()
        assert claims() == []
        assert_keyspace(clocked.client)
        ENDS[how](clocked, lease)
        assert_keyspace(clocked.client)
    assert len(claims()) == 1


def test_a_claim_without_an_answer_holds_no_place(clocked: Clocked) -> None:
    clocked.call(most(ann=1))
    put_all(clocked, *[Work()] * 3)
    unheard = claim(5, NO_MODELS)
    assert len(clocked.call(unheard).leases) == 1
    assert len(clocked.call(unheard).leases) == 1
    assert clocked.call(leases.disclaim("llm", unheard, worker="w")) == 1
    assert_keyspace(clocked.client)
    assert len(take(clocked, 5)) == 1


def test_a_count_that_is_wrong_is_set_right_within_seconds(clocked: Clocked) -> None:
    """As by an older version, or who deletes records by hand."""
    clocked.call(most(ann=2))
    put_all(clocked, *[Work()] * 9)
    held = take(clocked, 5)
    assert take(clocked, 5) == []
    clocked.client.zadd(Key.RUNNING_OF + "llm:ann", {"gone": 1})
    end(clocked, held[0])
    assert take(clocked, 5) == [], "one too many is counted"
    assert tick(clocked) == 0
    clocked.now += round(RECOUNT.total_seconds() * SECOND)
    assert tick(clocked) == 1
    held += take(clocked, 5)
    assert len(held) == 3
    clocked.client.delete(Key.RUNNING_OF + "llm:ann")
    clocked.client.hdel(Key.JOB + held[-1].id, "counted")
    assert tick(clocked) == 1
    assert clocked.client.zcard(Key.RUNNING_OF + "llm:ann") == 2
    assert_keyspace(clocked.client)


def test_suspects_are_counted_and_wait_for_a_place(clocked: Clocked) -> None:
    clocked.call(most(ann=1))
    put_all(clocked, Work())
    for _ in range(2):
        [lease] = take(clocked, 5)
        ENDS["lost"](clocked, lease)
    put_all(clocked, *[Work(priority=Priority.HIGH)] * 3)
    clocked.call(most(ann=2))
    first = clocked.call(leases.claim_llm(worker="w", limit=5, ttl=TTL)).leases  # which takes no suspects
    assert len(first) == 2
    assert take(clocked, 5) == []
    assert take(clocked, 5) == []
    assert_keyspace(clocked.client)
    end(clocked, first[0])
    [suspect] = take(clocked, 5)
    assert suspect.suspect
    end(clocked, suspect)
    assert [lease.suspect for lease in take(clocked, 5)] == [False]


def test_clients_of_plain_rq_share_one(clocked: Clocked) -> None:
    clocked.call(most_sync(external=1))
    enqueue(clocked, "default", 2)
    enqueue(clocked, "other", 2)
    for _ in range(4):
        lease = adopt_and_take(clocked, "default", "other")
        assert claimed(clocked, "default", "other").leases == []
        assert_keyspace(clocked.client)
        end(clocked, lease)


def test_idle_jobs_of_others_run_beside_it(clocked: Clocked) -> None:
    clocked.call(most(ann=1))
    put_all(clocked, *[Work()] * 3, *[Work(owner="bob", priority=Priority.IDLE)] * 3)
    held = take(clocked, 3)
    held += take(clocked, 3)
    assert owners(held) == {"ann": 1, "bob": 3}


def test_what_one_process_says_holds_until_one_says_other_things_that_began_later(clocked: Clocked) -> None:
    put_all(clocked, *[Work()] * 9)
    old = most(ann=1)
    began = clocked.call(old)
    clocked.now += SECOND
    clocked.call(most(ann=3))
    digest, _, *rows = old.args
    again = type(old)(old.name, [digest, round(began.timestamp() * 1000), *rows], old.parse)
    clocked.call(again)
    assert len(take(clocked, 5)) == 3
