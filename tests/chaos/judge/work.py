"""How often a job is worked at: as the provider's log and the journal count it."""

from tests.chaos.judge.evidence import LEASE, Case, Facts
from tests.chaos.outside.records import SyncRun
from tests.chaos.row import Row


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


def _apart(number: int) -> str:
    return f"{number} of a second that Redis lost" if number else ""
