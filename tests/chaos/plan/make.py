"""The plan of a run: a pure function of the seed."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.chaos.outside.provider import PARKED
from tests.chaos.plan.certain import CALM, QUIET, calm, limited, share, with_certain
from tests.chaos.plan.faults import faults_of
from tests.chaos.plan.model import Act, Fault, Limit, Plan, Role, Submission
from tests.chaos.plan.submissions import (
    RPM,
    SHARES,
    TPM,
    journal,
    lasting_mail,
    poison,
    rush,
    slow_chat,
    submission,
)

# Of a limited model's demand its limit lets pass so much: jobs wait for it all the time, and in a short run also when
# the faults are over.
LIMIT, LIMIT_SHORT, SHORT = 0.95, 0.6, 2_000
TOKENS = 45  # of a request to the model that tokens limit, on average: what the provider says
STREAMED = (6, 200)  # streamed and watched in peace: at least so many, and one for so many jobs
OTHERS = (4, 200)  # jobs of another owner, with keys that are used already, likewise
SOON, COMPANY = 0.4, 6  # seconds after a job that is answered 429 others come for its model, so many
REPEATED = (6, 200)  # of the first ones: as many are submitted again when all is over, likewise
LONG_WORK = 6  # slow chats that are under way when an LLM worker is hit
MAILS = 3  # that are being sent when the process of one is killed
SUSPECTS = 12  # slow chats beside the poison that makes them suspects
# Seconds from a poison to the work of its neighbours in processes of their own: two crashes, and a lease after each.
ISOLATED = 13.0
# Seconds of a sync job that is under way when a sync worker is hit: longer than what it may still end of it, and than a
# fault waits for others.
WORK = {Act.KILL: 4.0, Act.RESTART: 5.0}
LONG_STOP, SHORT_STOP, LEASE = 10.0, 3.0, 6.0
SYNC_ROLES = {Role.SYNC, Role.HORSE, Role.SUPERVISOR}
# Jobs of the rush, more than can begin at once: each second one is urgent.
RUSH = {"chat": 240, "journal": 24}
SCHEDULES = ("tick-one", "tick-two", "tick-three", "tick-four")


def make(seed: int, *, jobs: int, rate: float, every: float, shared: bool = True) -> Plan:
    """Plan `jobs` submissions, about `rate` a second, and a fault about `every` so many seconds meanwhile.

    The last ones come when the faults are over. `every` 0: nothing is hit, no job is poison, there are no
    schedules and there is no rush. `shared` False: only processes are hit, and neither Redis nor the ways there.
    """
    chance = random.Random(seed)  # noqa: S311 - a plan that anyone can have again
    submissions, at = [], 0.0
    for number in range(jobs - CALM):
        at += chance.expovariate(rate)
        submissions.append(submission(chance, seed, number, at))
    own = random.Random(seed)  # noqa: S311 - whatever is submitted meanwhile
    faults = faults_of(own, at, every, shared=shared) if every else []
    submissions = _with_work_to_hit(submissions, faults)
    submissions = _with_company(_with_streams(with_certain(chance, submissions, poisoned=bool(faults))))
    submissions = _with_keys_used_again(chance, submissions)
    if faults:
        submissions += calm(seed, jobs - CALM, max(fault.at + fault.seconds for fault in faults))
    else:
        submissions = sorted([*calm(seed, jobs - CALM, -QUIET), *submissions], key=lambda job: job.at)
    passed = LIMIT if jobs >= SHORT else LIMIT_SHORT
    by_requests, by_tokens = (round(passed * _demand(rate, kind)) for kind in ("chat rpm", "chat tpm"))
    limits = {RPM: Limit(rpm=by_requests), TPM: Limit(rpm=2 * by_tokens, tpm=TOKENS * by_tokens)}
    if not faults:
        return Plan(seed, submissions, faults, limits)
    return Plan(seed, submissions, faults, limits, _rush(seed, jobs), SCHEDULES)


def _rush(seed: int, jobs: int) -> list[Submission]:
    tasks = [task for task, count in RUSH.items() for _ in range(count)]
    return [rush(seed, jobs + place, task, ("low", "high")[place % 2]) for place, task in enumerate(tasks)]


def _demand(rate: float, kind: str) -> float:
    """Give the requests a minute that are asked for."""
    return 60 * rate * SHARES[kind] / sum(SHARES.values())


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


def _with_keys_used_again(chance: random.Random, submissions: list[Submission]) -> list[Submission]:
    """Have another owner use keys of jobs just before, and some of the first jobs be submitted again at the end."""
    changed, jobs = list(submissions), len(submissions)
    plain = [
        place for place in range(1, jobs) if "cleanup" not in {submissions[place - 1].task, submissions[place].task}
    ]
    for place in chance.sample(plain, share(jobs, OTHERS)):
        changed[place] = replace(changed[place], owner="bob", key=changed[place - 1].marker)
    for place in chance.sample(range(jobs // 7), share(jobs, REPEATED)):
        changed[place] = replace(changed[place], late=True)
    return changed


def _with_streams(submissions: list[Submission]) -> list[Submission]:
    """Stream the last ones that wait for a limit: mostly until all faults are over, so that nothing breaks them."""
    changed, count = list(submissions), share(len(submissions), STREAMED)
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
            near = sorted(_before(changed, fault.at - ISOLATED)[: SUSPECTS + 1])
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
    """Give the places of what is submitted just before, and has no part in something else; last what a limit keeps."""
    near = [i for i, job in enumerate(submissions) if moment - 1.5 < job.at < moment - 0.3]
    near = [i for i in near if "priority" not in submissions[i].query]
    return sorted(near, key=lambda i: limited(submissions[i]))


def _lasts(fault: Fault) -> float:
    if fault.act is Act.STOP:
        return LONG_STOP if fault.seconds > LEASE else SHORT_STOP
    return WORK[fault.act]
