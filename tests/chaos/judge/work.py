"""How often a job is worked at: as the provider's log and the journal count it."""

from collections.abc import Iterator

from tests.chaos.judge.evidence import LEASE, WRITTEN, Case, Facts, Hit
from tests.chaos.outside.records import Request, SyncRun
from tests.chaos.row import Row

MARGIN = 0.5  # seconds of a grace time that a busy machine may take
UNHEARD = 2.5  # seconds of outages in which a lease is renewed by nobody, and may be over
FAST = 1.5  # seconds, at most, of an answer that is neither slow nor late


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
        hits = sum(hit.lost and not _to_be_ended(facts, case, hit) for hit in case.hits)
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


def grace(facts: Facts) -> Row:
    """A worker that is told to stop lets what it is at go on for its grace time: a request stays open, or ends well."""
    faults, kept, longest = [], 0, 0.0
    for case in facts.cases:
        for hit, request in _told(case):
            if _ended_otherwise(facts, case, hit, request):
                continue
            kept += 1
            after = (request.ended or hit.at + facts.grace) - hit.at
            longest = max(longest, after)
            if not request.taken and after < facts.grace - MARGIN:
                faults.append(f"{case.id} {case.name}: its request was broken off {after:.1f} s after a SIGTERM")
    return Row(
        goal="what runs at a SIGTERM has its grace time",
        measured=f"{kept} requests were open, {len(faults)} broken off early; the last one ended after {longest:.1f} s",
        faults=faults,
        samples=kept,
        least=facts.least(1, 50),
    )


def _told(case: Case) -> Iterator[tuple[Hit, Request]]:
    """Give the requests that a worker had open when it was told to stop."""
    for hit in case.hits:
        for request in case.requests:
            open_then = request.came <= hit.at and (request.ended is None or request.ended >= hit.at)
            if hit.deed.kind == "SIGTERM" and request.asker == hit.deed.target and open_then:
                yield hit, request


def _ended_otherwise(facts: Facts, case: Case, hit: Hit, request: Request) -> bool:
    """Say whether something else may have ended a request: a cancel, the provider, another hit, or a lost lease."""
    end = hit.at + facts.grace
    cancelled = case.notes.cancel is not None and case.notes.cancel.sent <= end
    others = [other for other in case.hits if other.deed is not hit.deed and other.deed.target == request.asker]
    hit_again = any(other.at <= end and (other.deed.ended or end) >= hit.at - LEASE for other in others)
    superseded = any(other.came > request.came and other.came <= end for other in case.requests)
    fenced = facts.away.within(hit.at - LEASE, end) > UNHEARD or facts.rolled_back.touch(hit.at - LEASE, end)
    return cancelled or hit_again or superseded or fenced or not request.good


def _to_be_ended(facts: Facts, case: Case, hit: Hit) -> bool:
    """Say whether the run had an answer at a SIGTERM, or would have had one well within the grace time."""
    if hit.deed.kind != "SIGTERM" or facts.away.touch(hit.at, hit.at + facts.grace + WRITTEN):
        return False
    slow = "slow" in str(case.planned.body)
    end = hit.at + facts.grace
    return any(
        (request.taken and (request.ended or request.came) + MARGIN <= end)
        or (not slow and request.fault != "late" and request.came + FAST <= end)
        for own, request in _told(case)
        if own is hit and not _ended_otherwise(facts, case, hit, request)
    )


def _silenced(facts: Facts, case: Case, run: SyncRun) -> bool:
    """Say whether the run has no end because its worker had no answer for as long as its lease lasts."""
    return run.ended is None and facts.silences.touch(run.began, run.began + case.planned.body.get("seconds", 0.0))


def _apart(number: int) -> str:
    return f"{number} of a second that Redis lost" if number else ""
