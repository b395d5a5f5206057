"""Who is served next in the forking pool: owners by the time that their runs take, priorities within an owner."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from ulid import ULID

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.jobs.submission import Options, Submission
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases, maintenance
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Claimed, Lease, Success
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import NOTHING, PLENTY, TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.limiter_script import SECOND, Clocked

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW
RQ = ("default", "invoices")


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def job(owner: str, priority: Priority = NORMAL, task: str = "email", **options: Any) -> Submission:
    return Submission(
        id=str(ULID()),
        queue="sync",
        task=task,
        owner=owner,
        payload="{}",
        max_attempts=3,
        request_id="r",
        options=Options(priority=priority, **options),
        rq=("description", task),
    )


def put(clocked: Clocked, *jobs: Submission) -> list[str]:
    clocked.call_all([store_job(one, PLENTY) for one in jobs])
    return [one.id for one in jobs]


def claimed(clocked: Clocked, *queues: str, worker: str = "w") -> Claimed:
    found: Claimed = clocked.call(leases.claim_sync(worker=worker, ttl=TTL, queues=queues))
    return found


def take(clocked: Clocked, *queues: str) -> Lease:
    [lease] = claimed(clocked, *queues).leases
    return lease


def succeed(clocked: Clocked, lease: Lease) -> None:
    assert clocked.call(leases.succeed(lease, Success("{}"), usage=Usage(), ttl=TTL))


def run(clocked: Clocked, seconds: float = 0.1) -> Lease:
    """Claim a job and run it for so long."""
    lease = take(clocked)
    clocked.now += round(seconds * SECOND)
    succeed(clocked, lease)
    return lease


def test_a_flood_of_one_owner_holds_no_other_up(clocked: Clocked) -> None:
    put(clocked, *[job("flood", HIGH) for _ in range(2000)])
    for _ in range(20):
        run(clocked)
    [bobs] = put(clocked, job("bob", LOW))
    assert bobs in [run(clocked).id for _ in range(2)]
    assert_keyspace(clocked.client)


def test_a_lone_owner_has_every_turn(clocked: Clocked) -> None:
    ids = []
    for _ in range(30):
        ids += put(clocked, job("ann"))
        clocked.now += SECOND // 1000
    assert [run(clocked).id for _ in range(30)] == ids
    assert claimed(clocked).leases == []
    assert not list(clocked.client.scan_iter("tandem:lane*"))


def test_a_newcomer_is_neither_behind_nor_for_long_before_those_who_wait(clocked: Clocked) -> None:
    put(clocked, *[job("ann") for _ in range(200)])
    for _ in range(50):
        run(clocked)
    put(clocked, *[job("bob") for _ in range(100)])
    served = Counter(str(run(clocked).owner) for _ in range(60))
    assert served["bob"] == pytest.approx(30, abs=1)


@pytest.mark.parametrize("others", [0, 3])
def test_priorities_share_an_owners_turns_whoever_else_waits(clocked: Clocked, others: int) -> None:
    turns = 200
    put(clocked, *[job("ann", priority) for priority in (HIGH, NORMAL, LOW) for _ in range(turns)])
    put(clocked, *[job(f"other{n}") for n in range(others) for _ in range(turns + 20)])
    held = [run(clocked) for _ in range(turns * (others + 1))]
    mine = [cast("Any", clocked.client.hget(Key.JOB + lease.id, "priority")) for lease in held if lease.owner == "ann"]
    counted = Counter(priority.decode() for priority in mine)
    assert counted.total() == pytest.approx(turns, abs=3)
    assert counted[HIGH] == pytest.approx(0.8 * turns, abs=0.05 * turns)
    assert counted[NORMAL] == pytest.approx(0.15 * turns, abs=0.04 * turns)
    assert counted[LOW] == pytest.approx(0.05 * turns, abs=0.02 * turns)


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


def test_a_claim_pays_in_advance_what_the_task_has_lasted(clocked: Clocked) -> None:
    """Else several workers at once would give one owner as many long runs as another one short ones."""
    put(clocked, *[job("ann", task="report") for _ in range(40)], *[job("bob") for _ in range(60)])
    for _ in range(20):
        lease = take(clocked)
        clocked.now += (8 if lease.task == "report" else 1) * SECOND
        succeed(clocked, lease)
    at_once = Counter(take(clocked).task for _ in range(27))
    assert at_once == {"report": pytest.approx(3, abs=1), "email": pytest.approx(24, abs=1)}


def test_what_was_handed_back_goes_before_its_owners_other_jobs(clocked: Clocked) -> None:
    put(clocked, job("ann", LOW))
    held = take(clocked)
    put(clocked, *[job(owner, HIGH) for owner in ("ann", "bob") for _ in range(50)])
    clocked.call(leases.give_up(held, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert_keyspace(clocked.client)
    [again] = [lease for lease in (take(clocked), take(clocked)) if lease.owner == "ann"]
    assert (again.id, again.attempt) == (held.id, 1)


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


def test_a_scheduled_job_waits_in_its_lane_once_it_is_due(clocked: Clocked) -> None:
    [later] = put(clocked, job("bob", delay=timedelta(seconds=5)))
    put(clocked, *[job("ann") for _ in range(20)])
    assert {run(clocked).owner for _ in range(5)} == {"ann"}
    clocked.now += 5 * SECOND
    assert clocked.call(maintenance.move_due()) == 1
    assert later in [run(clocked).id for _ in range(2)]
    assert_keyspace(clocked.client)


def test_idle_jobs_come_after_everybodys_others_and_owners_take_turns_with_them(clocked: Clocked) -> None:
    idle = put(clocked, *[job(owner, Priority.IDLE) for owner in ("ann", "bob") for _ in range(4)])
    put(clocked, *[job("cy", priority) for priority in (HIGH, NORMAL, LOW) for _ in range(4)])
    assert {run(clocked).owner for _ in range(12)} == {"cy"}
    last = [run(clocked) for _ in range(8)]
    assert sorted(lease.id for lease in last) == sorted(idle)
    assert Counter(lease.owner for lease in last[:4]) == {"ann": 2, "bob": 2}
    assert_keyspace(clocked.client)


# --- jobs of plain RQ


def enqueue(clocked: Clocked, queue: str, count: int) -> list[str]:
    """What RQ's own client writes, as far as the book is concerned."""
    ids = [str(ULID()) for _ in range(count)]
    for job_id in ids:
        clocked.client.hset(f"rq:job:{job_id}", mapping={"status": "queued", "origin": queue})
        clocked.client.rpush(f"rq:queue:{queue}", job_id)
    return ids


def adopt_and_take(clocked: Clocked, *queues: str) -> Lease:
    """Claim as a worker does: what the book does not know is adopted before the lease is run."""
    while True:
        found = claimed(clocked, *queues)
        for entry in found.unknown:
            clocked.call(
                commands.adopt(
                    entry.id,
                    queue="sync",
                    task="f",
                    payload="{}",
                    max_attempts=1,
                    native="rq",
                    priority=NORMAL,
                    origin=entry.queue,
                )
            )
        if found.leases or not found.unknown:
            return found.leases[0]


def test_each_queue_of_plain_rq_takes_turns_beside_owners(clocked: Clocked) -> None:
    for queue in RQ:
        enqueue(clocked, queue, 100)
    put(clocked, *[job(owner) for owner in ("ann", "bob") for _ in range(100)])
    turns: Counter[str] = Counter()
    for _ in range(80):
        lease = adopt_and_take(clocked, *RQ)
        origin = cast("Any", clocked.client.hget(Key.JOB + lease.id, "origin"))
        turns[origin.decode() if origin else lease.owner] += 1
        clocked.now += SECOND
        succeed(clocked, lease)
    assert {name: pytest.approx(20, abs=3) for name in (*RQ, "ann", "bob")} == turns
    assert cast("int", clocked.client.llen("rq:queue:default")) >= 70, "what is not next stays with RQ"
    assert_keyspace(clocked.client)


def test_plain_rq_is_served_in_its_order_and_alone_too(clocked: Clocked) -> None:
    ids = enqueue(clocked, "default", 30)
    assert [adopt_and_take(clocked, "default").id for _ in range(30)] == ids


def test_what_is_refused_holds_nobody_up(clocked: Clocked) -> None:
    strange = enqueue(clocked, "default", 200)
    put(clocked, *[job("ann") for _ in range(10)])
    for _ in range(10):
        found = claimed(clocked, "default")
        assert len(found.leases) == 1
        for entry in found.unknown:
            clocked.call(commands.reject(entry.raw, origin="default", why="no", shown=True))
    left = cast("Any", clocked.client.lrange("rq:queue:default", 0, -1))
    assert [entry.decode() for entry in left] == strange[-len(left) :]


def test_a_worker_leaves_queues_that_it_does_not_serve_to_others(clocked: Clocked) -> None:
    enqueue(clocked, "default", 3)
    first = adopt_and_take(clocked, "default")
    clocked.call(leases.give_up(first, HandBack(NOTHING), usage=Usage(), ttl=TTL))
    assert claimed(clocked, worker="another").leases == []
    put(clocked, *[job("ann") for _ in range(30)])
    for _ in range(10):
        assert run(clocked, 1.0).owner == "ann"
    again = [adopt_and_take(clocked, "default") for _ in range(4)]
    assert first.id in [lease.id for lease in again]
    assert "ann" in [lease.owner for lease in again], "who was not served for a while has saved up no turns"


def test_what_an_older_version_enqueued_is_taken_in(clocked: Clocked) -> None:
    ids = put(clocked, *[job(owner, priority) for owner in ("ann", "bob") for priority in (HIGH, NORMAL, LOW)])
    for key in [*clocked.client.scan_iter("tandem:lane*"), *clocked.client.scan_iter("tandem:waiting:*")]:
        clocked.client.delete(key)
    names = ("sync-high", "sync", "sync-low")
    for n, job_id in enumerate(ids):
        clocked.client.rpush(f"rq:queue:{names[n % 3]}", job_id)
        clocked.client.rpush("rq:queue:sync", job_id)  # and once more, where it does not belong
    served = [run(clocked).id for _ in ids]
    assert sorted(served) == sorted(ids)
    assert claimed(clocked) == Claimed([], [])
    assert not list(clocked.client.scan_iter("rq:queue:*"))
    assert_keyspace(clocked.client)


def commands_of_a_claim(clocked: Clocked, *, owners: int, jobs: int) -> int:
    clocked.client.flushall()
    put(clocked, *[job(f"t{n % owners}") for n in range(jobs)])
    for _ in range(3):
        run(clocked)
    clocked.client.config_resetstat()
    take(clocked)
    stats = cast("dict[str, Any]", clocked.client.info("commandstats"))
    return sum(stat["calls"] for name, stat in stats.items() if not name.startswith(("cmdstat_config", "cmdstat_info")))


def test_a_claim_costs_the_same_however_many_wait(clocked: Clocked) -> None:
    least = commands_of_a_claim(clocked, owners=10, jobs=20)
    assert commands_of_a_claim(clocked, owners=10, jobs=2000) <= least * 1.1
    assert commands_of_a_claim(clocked, owners=2000, jobs=2000) <= least * 1.1
