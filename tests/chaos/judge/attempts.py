"""The attempts that are counted for a job, and what failed outside: each has the other."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from tandem.shared.jobs.model import Status
from tests.chaos.judge.ends import BURNS_NOTHING
from tests.chaos.judge.evidence import Case, Facts, Hit
from tests.chaos.judge.hits import SETTLE
from tests.chaos.judge.times import moment
from tests.chaos.outside.records import Request
from tests.chaos.row import Row

NOTICED = 20.0  # seconds after a hit, besides outages, in which its lost lease is found
AT_ONCE = 1.0  # seconds from what a full disk refused to the failed attempt
WRITTEN = 3.0  # seconds after a faulty answer, besides outages, in which the failed attempt is written down
EARLY = 0.5  # seconds that the book may date it earlier
# What always costs an attempt, at the provider and at the mail server; the others may be an outage, or a limit.
BROKEN = frozenset({"error", "unavailable", "cut"})
JOBS = 3  # that fail one after the other, and their model is taken for down
DOWN = 10.0  # seconds in which it may be
COSTS, MAIL_COSTS = frozenset({"error", "garbage"}), frozenset({"4xx", "cut", "lost"})


def caused(facts: Facts) -> Row:
    """An attempt is counted for each that failed outside, too, and the last one: a restart costs none."""
    faults, checked, counted, terms = [], 0, 0, 0
    for case in facts.cases:
        job = case.job
        if not job or not job.finished or case.planned.poison or facts.unsettled(case):
            continue
        checked, counted = checked + 1, counted + len(job.attempts)
        terms += sum(hit.deed.kind == "SIGTERM" for hit in case.hits)
        if job.status is Status.SUCCEEDED and job.attempt != len(job.attempts) + 1:
            faults.append(f"{case.id} {case.name} is at attempt {job.attempt}, and {len(job.attempts)} failed")
        for entry in _unexplained(facts, case, job.attempts):
            hits = ", ".join(f"{hit.deed.kind} {moment(entry['at']) - hit.at:.1f} s before" for hit in case.hits)
            faults.append(f"{case.id} {case.name}: {entry['type']} without a cause outside; hits: {hits or 'none'}")
    shown = f"{counted} failed attempts of {checked:,} jobs, {terms} hit by restarts; {len(faults)} burnt"
    return Row(
        goal="a failed attempt has a cause outside, restarts burn none",
        measured=shown,
        faults=faults,
        samples=terms,
        least=facts.least(3, 60),
        # A worker that gets no time on a busy machine loses its leases; nothing else that is burnt is excused by that.
        speed=all(": worker_crash without" in fault for fault in faults),
    )


def _unexplained(facts: Facts, case: Case, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pair each entry with a cause of its own at its time; gives those without."""
    hits = [hit for hit in case.hits if hit.burns]
    answers = list(_faulty(case))
    # When a stopped worker goes on, its request has broken or run out of time: the attempt fails by that.
    stops = [hit for hit in case.hits if hit.deed.kind == "SIGSTOP"]
    for entry in entries:
        at = moment(entry["at"])
        if entry["type"] == "worker_crash":
            cause: Any = next((hit for hit in hits if _in_time(facts, hit.at, at, NOTICED)), None)
            hits = [hit for hit in hits if hit is not cause]
        else:
            cause = next((answer for answer in answers if _in_time(facts, answer, at, WRITTEN)), None)
            answers = [answer for answer in answers if answer != cause]
            if cause is None and case.planned.task == "report":
                cause = facts.spans("disk full").touch(at - AT_ONCE, at) or None
            if cause is None:
                cause = next((hit for hit in stops if _in_time(facts, hit.deed.ended or hit.at, at, NOTICED)), None)
                stops = [hit for hit in stops if hit is not cause]
        if cause is None:
            yield entry


def _faulty(case: Case) -> Iterator[float]:
    """Give the ends of what failed outside."""
    yield from (request.ended or request.came for request in case.requests if request.fault not in BURNS_NOTHING)
    yield from (mail.at for mail in case.mails if mail.answer != "250")


def _in_time(facts: Facts, cause: float, effect: float, patience: float) -> bool:
    """Say whether one may have caused the other; where a clock was wrong, the times tell nothing."""
    if facts.jumps.touch(cause, cause + patience):
        return True
    return -EARLY <= effect - cause <= patience + facts.unwritable.within(cause, effect)


class Faulty(NamedTuple):
    """An answer that costs an attempt."""

    began: float
    ended: float
    by: str = ""  # the worker that got it, if something names it
    model: str = ""  # that was asked, and may be taken for one that is down


def counted(facts: Facts) -> Row:
    """Each faulty answer is one of the job's failed attempts: so a job whose answers all are ends."""
    faults, answers, apart = [], 0, 0
    for case in facts.cases:
        job = case.job
        if not job or not job.finished or case.planned.poison or facts.unsettled(case):
            continue
        entries = [moment(entry["at"]) for entry in job.attempts if entry["type"] != "worker_crash"]
        crashes = len(job.attempts) - len(entries)
        for answer in costly(case):
            if _unheard(facts, case, answer):
                apart += 1
                continue
            answers += 1
            entry = next((at for at in entries if _in_time(facts, answer.ended, at, WRITTEN)), None)
            if entry is None:
                faults.append(f"{case.id} {case.name}: a faulty answer to attempt {1 + len(job.attempts)} cost none")
            else:
                entries.remove(entry)
        if len(job.attempts) - crashes > job.max_attempts:
            faults.append(f"{case.id} {case.name} failed {len(job.attempts) - crashes} times of {job.max_attempts}")
    return Row(
        goal="each faulty answer costs an attempt",
        measured=f"{answers:,} faulty answers, {len(faults)} cost none",
        faults=faults,
        samples=answers,
        least=facts.least(1, 100),
        apart=f"{apart} whose worker was hit, or could not reach Redis" if apart else "",
    )


def costly(case: Case) -> Iterator[Faulty]:
    """Give the faulty answers that must have cost an attempt, since the job was last let run from zero."""
    wish = case.notes.retry
    since = wish.answered if wish else 0.0
    for request in case.requests:
        if request.fault in COSTS and request.ended is not None and request.came >= since:
            model = request.model if request.fault == "error" else ""
            yield Faulty(request.came, request.ended, request.asker, model)
    for mail in case.mails:
        if mail.answer in MAIL_COSTS and mail.at >= since:
            yield Faulty(mail.at, mail.at)


def _unheard(facts: Facts, case: Case, answer: Faulty) -> bool:
    """Say whether whoever got an answer may have lost its lease meanwhile, or could not write what came of it."""
    end = answer.ended + SETTLE
    if any(_taken(hit, answer, end) for hit in case.hits):
        return True
    cancel = case.notes.cancel
    if (cancel and cancel.sent <= end and case.cancelled) or _down(facts, answer):
        return True
    return facts.unwritable.touch(answer.began, end)


def _down(facts: Facts, answer: Faulty) -> bool:
    """Say whether the last answers of a model were faults to several jobs: then it may be taken for one that is down.

    So it is if nobody has got a good answer since a 429's time was over: who comes next tries whether it takes requests
    again. A worker that goes on after a stop finds its requests broken, and takes that for the same.
    """
    if not answer.model:
        return False
    if any(0 <= answer.ended - (deed.ended or 0) <= DOWN for deed in facts.deeds if deed.kind == "SIGSTOP"):
        return True
    since = answer.ended - DOWN
    asked = [one for one in facts.requests if one.model == answer.model]
    last = [one for one in asked if since <= _end(one) <= answer.ended + EARLY]
    before = [one for one in asked if _end(one) < answer.began]
    busy = max((_end(one) + one.retry_after for one in before if one.fault == "limited"), default=None)
    if busy is not None and all(_end(one) <= busy or one.fault in BROKEN for one in before):
        return True
    failing = {one.marker for one in takewhile(lambda one: one.fault in BROKEN, sorted(last, key=_end, reverse=True))}
    return len(failing) >= JOBS


def _end(request: Request) -> float:
    return request.ended or 0.0


def _taken(hit: Hit, answer: Faulty, end: float) -> bool:
    """Say whether a hit took the job from the worker that got the answer."""
    own = not answer.by or hit.deed.target == answer.by
    return own and hit.at - SETTLE <= end and (hit.deed.ended or hit.at) + WRITTEN >= answer.began
