"""What a short run would have by chance only: poison, long sync jobs, and each kind of wish.

Some of each come amid the faults, and two of each wish once more when they are over, where nothing excuses anything.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.chaos.plan.model import Submission
from tests.chaos.plan.submissions import RPM, TPM, answered, body_of, greylisted, journal, later, poison, slow_chat

Change = Callable[[Submission], Submission]
SOME = (2, 200)  # of each kind of wish amid the faults: at least so many, and one for so many jobs
HOPELESS = (2, 400)  # jobs that are always answered 500, likewise: they take long
LATER = 10.0  # seconds that a job waits for its time
CANCELLED = 4.0  # seconds that a sync job would last that is cancelled after one
EACH = 2  # of each wish when the faults are over
QUIET, APART = 6.0, 0.1  # seconds from the last fault to the first of them, and from one to the next


def _late(job: Submission, *, by: str) -> Submission:
    """Make a chat that begins later, and whose end is told."""
    body = body_of("chat", job.marker)
    return Submission(job.at, job.marker, "chat", body, {**later(job.at, LATER, by=by), "webhook_url": job.marker})


def _too_late(at: float) -> dict[str, str]:
    """Give the query of what expires before it may begin."""
    return {**later(at, LATER, by="run_at"), "expires_in": "1"}


POISON: list[tuple[tuple[int, int], Change]] = [
    ((3, 4000), lambda job: poison(job, "async")),  # besides those that make suspects
    ((3, 2000), lambda job: poison(job, "sync")),
]
LONG: list[tuple[tuple[int, int], Change]] = [((3, 1000), journal)]  # longer than a lease
WISHES: list[tuple[tuple[int, int], Change]] = [
    (SOME, lambda job: replace(slow_chat(job), cancel=3.0, begun=True, retry=True)),
    (SOME, partial(answered, wish="first limited")),
    (SOME, lambda job: replace(journal(job, CANCELLED), cancel=1.0, begun=True)),
    (SOME, partial(_late, by="delay")),
    (SOME, partial(_late, by="run_at")),
    (SOME, lambda job: replace(job, query={"delay": "20"}, cancel=0.5, retry=False)),  # while it waits
    (SOME, lambda job: replace(slow_chat(job), watch=True, query={"stream": "true"})),
    (SOME, lambda job: replace(slow_chat(job), query={"expires_in": "30"})),  # begun in time
    (SOME, lambda job: replace(job, query=_too_late(job.at), cancel=None, follow=True, retry=True)),
    (SOME, partial(answered, wish="first limited")),
    (SOME, partial(answered, wish="first error")),
    (SOME, greylisted),
    (HOPELESS, partial(answered, wish="always error")),
]
LAST: list[Change] = [  # besides them, when the faults are over
    lambda job: Submission(job.at, job.marker, "cleanup", body_of("cleanup", job.marker), {}),  # an admin's
    lambda job: replace(job, owner="bob"),
]
CALM = EACH * (len(WISHES) + len(LAST))  # how many come then


def with_certain(chance: random.Random, submissions: list[Submission], *, poisoned: bool) -> list[Submission]:
    """Have some of all amid the faults, if there is room in the places of jobs that no limit keeps waiting."""
    changes, jobs = [*(POISON if poisoned else []), *LONG, *WISHES], len(submissions)
    counts = [share(jobs, often) for often, _ in changes]
    plain = [i for i in range(jobs // 10, jobs) if "priority" not in submissions[i].query]
    free = [i for i in plain if i < jobs * 7 // 10 and not limited(submissions[i])]
    # Taken from the end: poison comes last, and hits others' hits least.
    places = sorted(chance.sample(free if len(free) >= sum(counts) else plain, sum(counts)))
    changed = list(submissions)
    for count, (_, change) in zip(counts, changes, strict=True):
        for _ in range(count):
            place = places.pop()
            changed[place] = change(changed[place])
    return changed


def calm(seed: int, number: int, over: float) -> list[Submission]:
    """Make each wish again for when the faults are over; `number` counts on from the others."""
    changes = [change for change in (*(change for _, change in WISHES), *LAST) for _ in range(EACH)]
    return [change(_plain(seed, number + i, over + QUIET + APART * i)) for i, change in enumerate(changes)]


def share(jobs: int, often: tuple[int, int]) -> int:
    """Give how many of the jobs: at least so many, and one for so many."""
    least, one_for = often
    return max(least, jobs // one_for)


def limited(job: Submission) -> bool:
    """Say whether its model's limit may keep it waiting."""
    return job.body.get("model") in {RPM, TPM}


def _plain(seed: int, number: int, at: float) -> Submission:
    marker = f"job-{seed}-{number}."
    return Submission(at, marker, "chat", body_of("chat", marker), {})
