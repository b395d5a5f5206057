"""The plan of a run: a pure function of the seed."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.chaos.outside.provider import PARKED
from tests.chaos.plan.faults import faults_of
from tests.chaos.plan.model import SLOW, Act, Fault, Limit, Plan, Role, Submission
from tests.chaos.plan.submissions import (
    RPM,
    SHARES,
    TPM,
    answered,
    journal,
    lasting_mail,
    later,
    poison,
    rush,
    slow_chat,
    submission,
)

# Of a limited model's demand its limit lets pass so much: jobs wait for it all the time, and in a short run also when
# the faults are over.
LIMIT, LIMIT_SHORT, SHORT = 0.95, 0.6, 2_000
TOKENS = 45  # of a request to the model that tokens limit, on average: what the provider says
POISONS = (3, 2000)  # in the sync pool: at least so many, and one for so many jobs
LLM_POISONS = (3, 4000)  # likewise, besides those that make suspects
LONG_SYNC = (3, 1000)  # sync jobs longer than a lease, likewise
CERTAIN = (2, 200)  # of each kind of wish, likewise
STREAMED = (6, 200)  # streamed and watched in peace, likewise
HOPELESS = (2, 400)  # jobs that are always answered 500, likewise: they take long
OTHERS = (4, 200)  # jobs of another owner, with keys that are used already, likewise
SOON, COMPANY = 0.4, 6  # seconds after a job that is answered 429 others come for its model, so many
REPEATED = (6, 200)  # of the first ones: as many are submitted again when all is over, likewise
LONG_WORK = 6  # slow chats that are under way when an LLM worker is hit
MAILS = 2  # that are being sent when the process of one is killed
SUSPECTS = 12  # slow chats beside the poison that makes them suspects
# Seconds from a poison to the work of its neighbours in processes of their own: two crashes, and a lease after each.
ISOLATED = 13.0
# Seconds of a sync job that is under way when a sync worker is hit: longer than what it may still end of it.
WORK = {Act.KILL: 3.0, Act.RESTART: 4.0}
SHORT_STOP, LEASE = 3.0, 6.0
SYNC_ROLES = {Role.SYNC, Role.HORSE, Role.SUPERVISOR}
# Jobs of the rush, more than can begin at once: each second one is urgent.
RUSH = {"chat": 240, "journal": 24}
LATER = 10.0  # seconds that a job waits for its time
CANCELLED = 4.0  # seconds that a sync job would last that is cancelled after one
SCHEDULES = ("tick-one", "tick-two", "tick-three", "tick-four")


def make(seed: int, *, jobs: int, rate: float, every: float) -> Plan:
    """Plan `jobs` submissions, about `rate` a second, and a fault about `every` so many seconds meanwhile."""
    chance = random.Random(seed)  # noqa: S311 - a plan that anyone can have again
    submissions, at = [], 0.0
    for number in range(jobs):
        at += chance.expovariate(rate)
        submissions.append(submission(chance, seed, number, at))
    faults = faults_of(random.Random(seed), at, every)  # noqa: S311 - whatever is submitted meanwhile
    submissions = _with_work_to_hit(submissions, faults)
    submissions = _with_company(_with_streams(_with_certain(chance, submissions)))
    submissions = _with_keys_used_again(chance, submissions)
    passed = LIMIT if jobs >= SHORT else LIMIT_SHORT
    by_requests, by_tokens = (round(passed * _demand(rate, kind)) for kind in ("chat rpm", "chat tpm"))
    limits = {RPM: Limit(rpm=by_requests), TPM: Limit(rpm=2 * by_tokens, tpm=TOKENS * by_tokens)}
    return Plan(seed, submissions, faults, limits, _rush(seed, jobs), SCHEDULES)


def _rush(seed: int, jobs: int) -> list[Submission]:
    tasks = [task for task, count in RUSH.items() for _ in range(count)]
    return [rush(seed, jobs + place, task, ("low", "high")[place % 2]) for place, task in enumerate(tasks)]


def _demand(rate: float, kind: str) -> float:
    """Give the requests a minute that are asked for."""
    return 60 * rate * SHARES[kind] / sum(SHARES.values())


def _with_certain(chance: random.Random, submissions: list[Submission]) -> list[Submission]:
    """Have some of all that a short run would have by chance only: poison, long sync jobs, each kind of wish."""
    changes: list[tuple[tuple[int, int], Callable[[Submission], Submission]]] = [
        (LLM_POISONS, lambda job: poison(job, "async")),
        (POISONS, lambda job: poison(job, "sync")),
        (LONG_SYNC, journal),
        (CERTAIN, lambda job: replace(slow_chat(job), cancel=1.0, begun=True, retry=True)),
        (CERTAIN, partial(answered, wish="first limited")),
        (CERTAIN, lambda job: replace(journal(job, CANCELLED), cancel=1.0, begun=True)),
        *((CERTAIN, partial(_late, by=by)) for by in ("delay", "run_at") for _ in range(2)),
        (CERTAIN, lambda job: replace(job, query={"delay": "20"}, cancel=0.5, retry=False)),  # while it waits
        (CERTAIN, lambda job: replace(slow_chat(job), watch=True, query={"stream": "true"})),
        (CERTAIN, lambda job: replace(slow_chat(job), query={"expires_in": "30"})),  # begun in time
        (
            CERTAIN,
            lambda job: replace(job, query={"delay": "3", "expires_in": "1"}, cancel=None, follow=True, retry=True),
        ),
        (CERTAIN, partial(answered, wish="first limited")),
        (CERTAIN, partial(answered, wish="first error")),
        (HOPELESS, partial(answered, wish="always error")),
    ]
    jobs = len(submissions)
    counts = [_share(jobs, often) for often, _ in changes]
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


def _with_company(submissions: list[Submission]) -> list[Submission]:
    """While a model that has answered 429 is parked, let others come for it: they must wait."""
    changed = list(submissions)
    for first in [job for job in submissions if str(job.body.get("model", "")).startswith("first-limited")]:
        near = [i for i, job in enumerate(changed) if first.at + SOON < job.at < first.at + PARKED and _ordinary(job)]
        for place in near[:COMPANY]:
            was = changed[place]
            messages = [{"role": "user", "content": was.marker}]
            body = {"messages": messages, "model": first.body["model"]}
            changed[place] = Submission(was.at, was.marker, "chat", body, {"priority": "high"})
    return changed


def _ordinary(job: Submission) -> bool:
    """Say whether it is a plain chat, of a model without a limit."""
    plain = {"messages": [{"role": "user", "content": job.marker}]}
    return job.body == plain and not (job.query or job.watch or job.cancel or job.late)


def _share(jobs: int, often: tuple[int, int]) -> int:
    """Give how many of the jobs: at least so many, and one for so many."""
    least, share = often
    return max(least, jobs // share)


def _with_keys_used_again(chance: random.Random, submissions: list[Submission]) -> list[Submission]:
    """Have another owner use keys of jobs just before, and some of the first jobs be submitted again at the end."""
    changed, jobs = list(submissions), len(submissions)
    plain = [
        place for place in range(1, jobs) if "cleanup" not in {submissions[place - 1].task, submissions[place].task}
    ]
    for place in chance.sample(plain, _share(jobs, OTHERS)):
        changed[place] = replace(changed[place], owner="bob", key=changed[place - 1].marker)
    for place in chance.sample(range(jobs // 7), _share(jobs, REPEATED)):
        changed[place] = replace(changed[place], late=True)
    return changed


def _late(job: Submission, *, by: str) -> Submission:
    """Make a chat that begins later."""
    body = {"messages": [{"role": "user", "content": job.marker}]}
    return Submission(job.at, job.marker, "chat", body, later(job.at, LATER, by=by))


def _with_streams(submissions: list[Submission]) -> list[Submission]:
    """Stream the last ones that wait for a limit: mostly until all faults are over, so that nothing breaks them."""
    least, share = STREAMED
    changed, count = list(submissions), max(least, len(submissions) // share)
    waiting = [i for i, job in enumerate(submissions) if job.body.get("model") == RPM and "priority" not in job.query]
    for place in waiting[-count:]:
        was = submissions[place]
        changed[place] = Submission(was.at, was.marker, was.task, was.body, {"stream": "true"}, watch=True)
    return changed


def _with_work_to_hit(submissions: list[Submission], faults: list[Fault]) -> list[Submission]:
    """Before a worker is hit, let it have work that lasts: slow answers, or a sync job.

    When a stopped LLM worker goes on, such answers have come, and others have its jobs: it must not write them. The
    server of isolated jobs gets suspects: jobs that were there when a poison killed two workers.
    """
    changed = list(submissions)
    for fault in faults:
        if fault.role is Role.ISOLATION:
            near = _before(changed, fault.at - ISOLATED)[: SUSPECTS + 1]
            for place in near[:-1]:
                changed[place] = slow_chat(changed[place])
            for place in near[-1:]:
                changed[place] = poison(changed[place], "async", priority="high")
        count, change = _work(fault)
        for place in _before(changed, fault.at)[:count]:
            changed[place] = change(changed[place])
    return changed


def _work(fault: Fault) -> tuple[int, Callable[[Submission], Submission]]:
    """Give how many of which jobs a fault is to hit."""
    if fault.role is Role.SENDER:
        return MAILS, lasting_mail
    if fault.role is Role.LLM:
        return LONG_WORK, slow_chat
    if fault.role in SYNC_ROLES:
        return 1, partial(journal, seconds=_lasts(fault))
    return 0, slow_chat


def _before(submissions: list[Submission], moment: float) -> list[int]:
    """Give the places of what is submitted just before, and has no part in something else."""
    near = [i for i, job in enumerate(submissions) if moment - 1.5 < job.at < moment - 0.3]
    return [i for i in near if "priority" not in submissions[i].query]


def _lasts(fault: Fault) -> float:
    if fault.act is Act.STOP:
        return SLOW if fault.seconds > LEASE else SHORT_STOP
    return WORK[fault.act]
