"""The plan of a run: a pure function of the seed."""

import random
from collections.abc import Callable
from dataclasses import replace

from tests.chaos.plan.faults import faults_of
from tests.chaos.plan.model import SLOW, Act, Fault, Limit, Plan, Role, Submission
from tests.chaos.plan.submissions import RPM, SHARES, TPM, journal, poison, slow_chat, submission

# Of a limited model's demand its limit lets pass so much: jobs wait for it all the time, and in a short run also when
# the faults are over.
LIMIT, LIMIT_SHORT, SHORT = 0.95, 0.6, 2_000
TOKENS = 45  # of a request to the model that tokens limit, on average: what the provider says
POISONS = (3, 2000)  # of each pool in a run: at least so many, and one for so many jobs
LONG_SYNC = (3, 500)  # sync jobs longer than a lease, likewise
CERTAIN = (2, 200)  # of each kind of wish, likewise
LONG_WORK = 6  # slow chats that are under way when an LLM worker is hit
# Seconds of a sync job that is under way when a sync worker is hit: longer than what it may still end of it.
WORK = {Act.KILL: 4.0, Act.RESTART: 5.0, Act.STOP: SLOW}
LLM_ROLES, SYNC_ROLES = {Role.LLM, Role.ISOLATION}, {Role.SYNC, Role.HORSE, Role.SUPERVISOR}
LATE = {"delay": "3", "expires_in": "1"}
SCHEDULES = ("tick-one", "tick-two", "tick-three", "tick-four")


def make(seed: int, *, jobs: int, rate: float, every: float) -> Plan:
    """Plan `jobs` submissions, about `rate` a second, and a fault about `every` so many seconds meanwhile."""
    chance = random.Random(seed)  # noqa: S311 - a plan that anyone can have again
    submissions, at = [], 0.0
    for number in range(jobs):
        at += chance.expovariate(rate)
        submissions.append(submission(chance, seed, number, at))
    faults = faults_of(chance, at, every)
    submissions = _with_work_to_hit(submissions, faults)
    submissions = _with_certain(chance, submissions)
    passed = LIMIT if jobs >= SHORT else LIMIT_SHORT
    by_requests, by_tokens = (round(passed * _demand(rate, kind)) for kind in ("chat rpm", "chat tpm"))
    limits = {RPM: Limit(rpm=by_requests), TPM: Limit(rpm=2 * by_tokens, tpm=TOKENS * by_tokens)}
    return Plan(seed, submissions, faults, limits, SCHEDULES)


def _demand(rate: float, kind: str) -> float:
    """Give the requests a minute that are asked for."""
    return 60 * rate * SHARES[kind] / sum(SHARES.values())


def _with_certain(chance: random.Random, submissions: list[Submission]) -> list[Submission]:
    """Have some of all that a short run would have by chance only: poison, long sync jobs, each kind of wish."""
    changes: list[tuple[tuple[int, int], Callable[[Submission], Submission]]] = [
        (POISONS, lambda job: poison(job, "async")),
        (POISONS, lambda job: poison(job, "sync")),
        (LONG_SYNC, journal),
        (CERTAIN, lambda job: replace(slow_chat(job), cancel=2.0, retry=True)),  # while it runs
        (CERTAIN, lambda job: replace(job, query={"delay": "20"}, cancel=0.5, retry=False)),  # while it waits
        (CERTAIN, lambda job: replace(slow_chat(job), watch=True, query={"stream": "true"})),
        (CERTAIN, lambda job: replace(slow_chat(job), query={"expires_in": "30"})),  # begun in time
        (
            CERTAIN,
            lambda job: replace(job, query={"delay": "3", "expires_in": "1"}, cancel=None, follow=True, retry=True),
        ),
    ]
    jobs = len(submissions)
    counts = [max(least, jobs // share) for (least, share), _ in changes]
    free = [i for i in range(jobs // 10, jobs * 7 // 10) if "priority" not in submissions[i].query]
    places = sorted(
        chance.sample(free, sum(counts))
    )  # taken from the end: poison comes last, and hits others' hits least
    changed = list(submissions)
    for count, (_, change) in zip(counts, changes, strict=True):
        for _ in range(count):
            place = places.pop()
            changed[place] = change(changed[place])
    return changed


def _with_work_to_hit(submissions: list[Submission], faults: list[Fault]) -> list[Submission]:
    """Before a worker is hit, let it have work that lasts: slow answers, or a sync job.

    When a stopped LLM worker goes on, such answers have come, and others have its jobs: it must not write them.
    """
    changed = list(submissions)
    for fault in faults:
        if fault.role not in LLM_ROLES | SYNC_ROLES:
            continue
        near = [i for i, job in enumerate(changed) if fault.at - 1.5 < job.at < fault.at - 0.3]
        near = [i for i in near if "priority" not in changed[i].query]
        for i in near[: LONG_WORK if fault.role in LLM_ROLES else 1]:
            llm = fault.role in LLM_ROLES
            changed[i] = slow_chat(changed[i]) if llm else journal(changed[i], WORK[fault.act])
    return changed
