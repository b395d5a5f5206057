"""How jobs end: each once, as its submitter, its nature or what was seen outside says."""

from collections import Counter

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Status
from tandem.shared.store.scripts import MAX_LOSSES
from tests.chaos.judge.evidence import WRITTEN, Case, Facts
from tests.chaos.judge.times import moment
from tests.chaos.row import Row

BURNS_NOTHING = frozenset({"", "late", "limited"})  # faults of the provider that cost no attempt


def finished(facts: Facts) -> Row:
    """Everything accepted has ended, and the book holds nothing else."""
    faults = [f"{marker} was never accepted" for marker in facts.refused]
    faults += ["the run did not end before its deadline"] if not facts.ended else []
    faults += [f"{stray}" for stray in facts.strays]
    lost, apart, gave_up = [], 0, set(facts.gave_up)
    for case in facts.cases:
        if case.job is None and facts.unpromised(case):
            apart += 1
        elif case.job is None:
            lost.append(case)
            faults.append(f"{case.id} has no record: {case.name}")
        elif not case.job.finished:
            faults.append(f"{case.id} is {case.job.status}: {case.name}")
        if case.job is not None and case.id not in facts.listed:
            faults.append(f"{case.id} is not listed")
        if case.planned.marker in gave_up and not facts.unpromised(case):
            faults.append(f"{case.id} {case.name}: its end was not shown to its submitter")
    faults += _unknown(facts)
    ended = sum(case.job is not None and case.job.finished for case in facts.cases)
    shown = f"{len(facts.cases):,} accepted, {ended:,} finished, {len(lost)} lost"
    return Row(
        goal="accepted = finished, 0 lost",
        measured=shown,
        faults=faults,
        samples=len(facts.cases),
        least=max(1, len(facts.cases) + len(facts.refused)),
        apart=f"{apart} accepted in a second that Redis lost" if facts.rolled_back else "",
    )


def _unknown(facts: Facts) -> list[str]:
    """List the jobs that nobody was told of. If Redis has lost a job, another body with its key is a new job."""
    ids = {job for case in facts.cases for job in case.notes.ids}
    ids |= {case.notes.other for case in facts.cases if facts.unpromised(case)}
    return [f"{job} was not accepted, but is there" for job in sorted(facts.listed - ids)]


def outcomes(facts: Facts) -> Row:
    """A job succeeds, unless its submitter, its nature or faults that were seen outside say otherwise."""
    faults, failed = [], 0
    for case in facts.cases:
        job = case.job
        if job is None or not job.finished or case.planned.poison or job.status is Status.SUCCEEDED:
            continue
        failed += job.status is Status.FAILED
        why: dict[str, bool] = {
            Status.CANCELLED: case.cancelled and not _ran_again(facts, case),
            Status.EXPIRED: "expires_in" in case.planned.query,
            Status.FAILED: _may_fail(facts, case),
        }
        if not why.get(job.status):
            faults.append(f"{case.id} {case.name} is {job.status}: {_told(case)}")
    counts = Counter(str(case.job.status) for case in facts.cases if case.job)
    shown = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    samples = sum(case.job is not None and case.job.finished for case in facts.cases)
    goal = "each ends as it should, failed only with a cause outside"
    return Row(goal=goal, measured=shown, faults=faults, samples=samples, least=facts.least(200, 10_000))


def exhausted(facts: Facts) -> Row:
    """What the provider never answers well is asked as often as its task says, and has failed then."""
    faults, checked = [], 0
    for case in facts.cases:
        job = case.job
        if not case.planned.fails or not job or case.hits or case.cancelled or facts.unsettled(case):
            continue
        checked += 1
        if (job.status, len(case.requests)) != (Status.FAILED, job.max_attempts):
            faults.append(f"{case.id} {case.name} is {job.status} after {len(case.requests)} of {job.max_attempts}")
    return Row(
        goal="what always fails is tried as often as its task says",
        measured=f"{checked} jobs, {len(faults)} wrong",
        faults=faults,
        samples=checked,
        least=facts.least(1, 20),
    )


def given_up(case: Case) -> bool:
    """Say whether a job has lost its workers to as many hits as the platform has patience with, and ended of that."""
    job = case.job
    loop = job is not None and job.status is Status.FAILED and (job.error or {}).get("type") == "crash_loop"
    return loop and not case.planned.poison and sum(hit.burns for hit in case.hits) >= MAX_LOSSES


def _told(case: Case) -> str:
    error = (case.job.error if case.job else None) or {}
    seen = [request.fault or "good" for request in case.requests] + [mail.answer for mail in case.mails]
    return f"{error.get('type')}; outside: {', '.join(seen) or 'nothing'}, {len(case.hits)} hits"


def _ran_again(facts: Facts, case: Case) -> bool:
    """Say whether it was let run again, for certain: Redis may have lost that."""
    wish = case.notes.retry
    lost = wish is not None and facts.rolled_back.touch(wish.sent, wish.answered + WRITTEN)
    return wish is not None and wish.status in {200, 202} and not lost


def _may_fail(facts: Facts, case: Case) -> bool:
    """Say whether outside shows as many faults as attempts, or one that no attempt can mend."""
    assert case.job is not None
    if given_up(case) or any(mail.answer == "5xx" for mail in case.mails):
        return True
    burnt = sum(request.fault not in BURNS_NOTHING for request in case.requests)
    burnt += sum(mail.answer != "250" for mail in case.mails)
    burnt += sum(hit.burns for hit in case.hits) if burnt else 0  # hits alone must never fail a job
    if case.planned.task == "report":
        full = facts.spans("disk full")
        burnt += sum(full.touch(moment(entry["at"]) - WRITTEN, moment(entry["at"])) for entry in case.job.attempts)
    return burnt >= case.job.max_attempts


def ended_once(facts: Facts) -> Row:
    """A job's events in the book end once, with the last one."""
    faults, looked = [], 0
    for case in facts.cases:
        if not case.job or not case.job.finished:
            continue
        looked += 1
        kinds = [event.kind for event in case.events]
        if (ends := kinds.count(Kind.END)) != 1 or kinds[-1] is not Kind.END:
            faults.append(f"{case.id} has {ends} ends, its last event is {kinds[-1] if kinds else 'none'}")
    shown = f"{looked:,} jobs, {len(faults)} not"
    return Row(
        goal="one end in each job's events",
        measured=shown,
        faults=faults,
        samples=looked,
        least=facts.least(200, 10_000),
    )


def poisons(facts: Facts) -> Row:
    """A job that kills its own process is fenced off, and no other one with it.

    A job that was hit as often as the platform has patience with is given up, as documented.
    """
    faults, pools, loops, patience = [], Counter[str](), 0, 0
    for case in facts.cases:
        if not (job := case.job):
            continue
        loop = job.status is Status.FAILED and (job.error or {}).get("type") == "crash_loop"
        loops += loop
        if case.planned.poison:
            pools["llm" if case.llm else "sync"] += 1
        if given_up(case):
            patience += 1
        elif loop != case.planned.poison:
            faults.append(f"{case.id} {case.name} {'was fenced' if loop else f'was not fenced: it is {job.status}'}")
    shown = f"{pools['llm']} of the LLM pool, {pools['sync']} of the sync pool; {loops} fenced"
    return Row(
        goal="poison is fenced as crash_loop, nobody else",
        measured=shown,
        faults=faults,
        samples=min(pools["llm"], pools["sync"]),
        least=facts.least(2, 8),
        apart=f"{patience} that lost their workers to {MAX_LOSSES} hits, and so were given up" if patience else "",
    )
