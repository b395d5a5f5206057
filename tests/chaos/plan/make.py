"""The plan of a run: a pure function of the seed."""

import random

from tests.chaos.plan.faults import faults_of
from tests.chaos.plan.model import SLOW, Act, Fault, Plan, Role, Submission
from tests.chaos.plan.submissions import body_of, poison, submission

LLM_PART = 0.75  # of the jobs
LIMIT = 0.9  # of the LLM pool's demand that the provider's limit lets pass: jobs wait for it all the time
POISONS = (3, 2000)  # of each pool in a run: at least so many, and one for so many jobs
LONG_WORK = 6  # jobs


def make(seed: int, *, jobs: int, rate: float, every: float) -> Plan:
    """Plan `jobs` submissions, about `rate` a second, and a fault about `every` so many seconds meanwhile."""
    chance = random.Random(seed)  # noqa: S311 - a plan that anyone can have again
    submissions, at = [], 0.0
    for number in range(jobs):
        at += chance.expovariate(rate)
        submissions.append(submission(chance, seed, number, at))
    least, share = POISONS
    places = chance.sample(range(jobs // 10, jobs * 7 // 10), 2 * max(least, jobs // share))
    for i, place in enumerate(places):
        submissions[place] = poison(submissions[place], "async" if i % 2 else "sync")
    faults = faults_of(chance, at, every)
    return Plan(seed, _with_long_work(submissions, faults), faults, round(60 * rate * LLM_PART * LIMIT))


def _with_long_work(submissions: list[Submission], faults: list[Fault]) -> list[Submission]:
    """Before an LLM worker is stopped, let some slow answers be under way.

    They come while it is stopped, and while others have its jobs: when it goes on, it must not write them.
    """
    stops = [fault.at for fault in faults if (fault.role, fault.act) == (Role.LLM, Act.STOP) and fault.seconds > SLOW]
    changed = list(submissions)
    for stop in stops:
        near = [i for i, job in enumerate(changed) if stop - 1.5 < job.at < stop - 0.3 and not job.poison]
        for i in near[:LONG_WORK]:
            was = changed[i]
            changed[i] = Submission(was.at, was.marker, "chat", body_of("chat slow", was.marker), {"priority": "high"})
    return changed
