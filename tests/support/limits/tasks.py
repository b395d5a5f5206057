"""Jobs of tasks with a limit, and of others, in either pool."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tandem.shared.jobs.submission import Submission
from tandem.shared.store.leases import Lease
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import PLENTY
from tests.support.limits.claims import Work, succeeded, take
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.sync_lane import claimed, job

POOLS = pytest.mark.parametrize("queue", ["llm", "sync"])
CAPPED, OTHER = {"llm": "summarize", "sync": "report"}, {"llm": "chat", "sync": "email"}


def make(
    queue: str, task: str, owner: str = "ann", *, apart: bool = False, priority: Priority = Priority.NORMAL
) -> Submission:
    made = Work(owner=owner, tokens=100, priority=priority).job() if queue == "llm" else job(owner, priority, task)
    return replace(made, task=task, apart=apart)


def put(clocked: Clocked, jobs: Sequence[Submission]) -> None:
    clocked.call_all([store_job(one, PLENTY) for one in jobs])


def claim(clocked: Clocked, queue: str, places: int) -> list[Lease]:
    if queue == "llm":
        return take(clocked, places)
    return [lease for n in range(places) for lease in claimed(clocked, worker=f"w{n}").leases]


def tasks(held: Sequence[Lease]) -> Counter[str]:
    return Counter(lease.task for lease in held)


def end(clocked: Clocked, lease: Lease) -> None:
    clocked.call(succeeded(lease, 100))


def served(clocked: Clocked, queue: str, turns: int) -> Counter[str]:
    """Run so many jobs one after the other, a second each; whose they were."""
    owners = Counter[str]()
    for _ in range(turns):
        [lease] = claim(clocked, queue, 1)
        owners[lease.owner] += 1
        clocked.now += SECOND
        end(clocked, lease)
    return owners
