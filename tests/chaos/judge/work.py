"""How often a job is worked at: as the provider's log counts it, and the attempts that are counted for it."""

from collections.abc import Iterator
from typing import Any

from tandem.shared.jobs.model import Status
from tests.chaos.judge.ends import BURNS_NOTHING
from tests.chaos.judge.evidence import LEASE, Case, Facts
from tests.chaos.judge.times import moment
from tests.chaos.outside.records import SyncRun
from tests.chaos.row import Row

NOTICED = 20.0  # seconds after a hit, besides outages, in which its lost lease is found
WRITTEN = 3.0  # seconds after a faulty answer, besides outages, in which the failed attempt is written down
EARLY = 0.5  # seconds that the book may date it earlier


def requests(facts: Facts) -> Row:
    """The provider is asked once, and once more for each fault of its own and each time that the job was hit."""
    faults, checked, asked, apart = [], 0, 0, 0
    for case in facts.cases:
        if not case.llm or case.planned.poison:
            continue
        if facts.unsettled(case):
            apart += 1
            continue
        checked, asked = checked + 1, asked + len(case.requests)
        faulty = sum(not request.good for request in case.requests)
        hits = sum(hit.lost for hit in case.hits)
        if len(case.requests) > 1 + case.retried + faulty + hits:
            why = f"{faulty} faulty answers, {hits} hits, {'run again' if case.retried else 'not run again'}"
            faults.append(f"{case.id} {case.name} asked {len(case.requests)} times: {why}")
        elif case.succeeded and not any(request.good and request.taken for request in case.requests):
            faults.append(f"{case.id} {case.name} succeeded without an answer")
    shown = f"{asked:,} requests for {checked:,} jobs, {len(faults)} unexplained"
    return Row(
        goal="requests a job = 1 + faulty answers + hits",
        measured=shown,
        faults=faults,
        samples=checked,
        least=facts.least(100, 5_000),
        apart=_apart(apart),
    )


def runs(facts: Facts) -> Row:
    """A journal task runs once, and once more for each time that it was hit, or Redis was silent for too long."""
    faults, checked, long, apart = [], 0, 0, 0
    for case in facts.cases:
        if case.planned.task != "journal":
            continue
        if facts.unsettled(case):
            apart += 1
            continue
        checked += 1
        long += any(run.ended is not None and run.ended - run.began > LEASE for run in case.runs)
        hits, stopped = sum(hit.lost for hit in case.hits), sum(_silenced(facts, case, run) for run in case.runs)
        if len(case.runs) > 1 + case.retried + hits + stopped:
            why = f"{hits} hits, {stopped} stopped while Redis was silent"
            faults.append(f"{case.id} {case.name} ran {len(case.runs)} times, with {why}")
        elif case.succeeded and not any(run.ended for run in case.runs):
            faults.append(f"{case.id} {case.name} succeeded, and no run of it ended")
    shown = f"{checked:,} jobs with a journal, {long} longer than a lease; {len(faults)} unexplained"
    return Row(
        goal="runs of a sync job = 1 + hits",
        measured=shown,
        faults=faults,
        samples=long,
        least=facts.least(2, 20),
        apart=_apart(apart),
    )


def _silenced(facts: Facts, case: Case, run: SyncRun) -> bool:
    """Say whether the run has no end because its worker had no answer for as long as its lease lasts."""
    return run.ended is None and facts.silences.touch(run.began, run.began + case.planned.body.get("seconds", 0.0))


def attempts(facts: Facts) -> Row:
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
                cause = facts.spans("disk full").touch(at - WRITTEN, at) or None
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
    return -EARLY <= effect - cause <= patience + facts.away.within(cause, effect)


def _apart(number: int) -> str:
    return f"{number} of a second that Redis lost" if number else ""
