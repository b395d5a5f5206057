"""The sync pool's lane with the clock in the test's hand: jobs of owners and of plain RQ, claimed and run."""

from typing import Any

from ulid import ULID

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.submission import Options, Submission
from tandem.shared.store import commands, leases
from tandem.shared.store.leases import Claimed, Lease, Success
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import PLENTY, TTL
from tests.support.limits.limiter_script import SECOND, Clocked


def job(owner: str, priority: Priority = Priority.NORMAL, task: str = "email", **options: Any) -> Submission:
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
                    priority=Priority.NORMAL,
                    origin=entry.queue,
                )
            )
        if found.leases or not found.unknown:
            return found.leases[0]
