"""What jobs cost: requests and tokens, as the provider's log counts them."""

from collections.abc import Iterator

from tests.chaos.judge.evidence import WRITTEN, Case, Facts, Hit
from tests.chaos.judge.hits import SETTLE
from tests.chaos.judge.spans import Spans
from tests.chaos.row import Row

TAKEN = frozenset({"SIGSTOP", "SIGTERM"})  # take a run from a worker that lives on, and says what it has cost
CANCELLED = 2.0  # seconds from a cancel to the end of the run


def usage(facts: Facts) -> Row:
    """A job's usage is what the provider's log says: never more, and less only of a run that was lost with its worker.

    What a run sent just when it was taken from its worker may have been cut off before the provider read it: that is a
    request to the job, and none in the log. Tokens that were estimated, of answers that broke off, stand apart.
    """
    faults, exact, apart, tokens, estimated, unread = [], 0, 0, 0, 0, 0
    for case in facts.cases:
        if not case.llm or not case.job or not case.job.finished or case.planned.poison:
            continue
        if facts.unsettled(case):
            apart += 1
            continue
        exact += not _may_be_less(facts, case)
        tokens += told(case)[1]
        estimated += case.job.usage.estimated_tokens
        unread += max(0, case.job.usage.requests - len(case.requests))
        faults += [f"{case.id} {case.name}: {why}" for why in _wrong(facts, case)]
    shown = f"{tokens:,} tokens that were told, {estimated:,} estimated, {unread} requests unread; {len(faults)} wrong"
    return Row(
        goal="usage = requests and tokens of the provider's log",
        measured=shown,
        faults=faults,
        samples=exact,
        least=facts.least(60, 3_000),
        apart=f"{apart} of a second that Redis lost" if apart else "",
    )


def told(case: Case) -> tuple[int, int]:
    """Give the requests and the tokens that a job's record says, without what was estimated."""
    assert case.job is not None
    usage = case.job.usage
    return usage.requests, usage.input_tokens + usage.output_tokens - usage.estimated_tokens


def _wrong(facts: Facts, case: Case) -> Iterator[str]:
    assert case.job is not None
    requests, tokens = told(case)
    most = len(case.requests), sum(request.tokens for request in case.requests if request.good)
    taken = sum(request.tokens for request in case.requests if request.good and request.taken)
    less = _may_be_less(facts, case)
    if requests > most[0] + _unread(facts, case) or (requests < most[0] and not less):
        yield f"says {requests} requests, the provider {most[0]}"
    if tokens > most[1] or (tokens < taken and not less):
        yield f"says {tokens} tokens, the provider {taken} of answers that were taken, {most[1]} of all"


def _unread(facts: Facts, case: Case) -> int:
    """Count the runs that were taken from a worker which lives on, without that a request of theirs is in the log then.

    Who is killed says nothing of what it has cost.
    """
    assert case.job is not None
    crashes = sum(bool(entry["type"] == "worker_crash") for entry in case.job.attempts)
    told = sum(hit.deed.kind in TAKEN and not _read(case, *_taken(facts, hit), by=hit.deed.target) for hit in case.hits)
    # Also what the driver did not see of it may have cost a lease.
    ways = [(deed.began, deed.ended or deed.began) for deed in facts.deeds if deed.role in {"redis", "network"}]
    outages = sum(start <= max(case.changes) and end >= min(case.changes) for start, end in Spans([*facts.away, *ways]))
    cancel = case.notes.cancel
    cancelled = bool(cancel and case.cancelled and not _read(case, cancel.sent, cancel.answered + CANCELLED))
    # A worker that gets no time on a busy machine loses its leases.
    starved = max(0, crashes - sum(hit.burns for hit in case.hits))
    return told + outages + cancelled + starved


def _taken(facts: Facts, hit: Hit) -> tuple[float, float]:
    """Say from when until when a hit may have taken the run: with its lease, or after the grace time."""
    over = (hit.deed.ended or hit.at) if hit.deed.kind == "SIGSTOP" else hit.at + facts.grace
    return hit.at, over + WRITTEN


def _read(case: Case, since: float, until: float, *, by: str = "") -> bool:
    """Say whether the provider had a request of the job, and of that worker, at some time between."""
    asked = (request for request in case.requests if by in {"", request.asker})
    return any(one.came <= until and (one.ended or one.came) >= since - SETTLE for one in asked)


def _may_be_less(facts: Facts, case: Case) -> bool:
    """Say whether a run was lost, or stopped by a cancel, before it could say what it had cost."""
    cannot = Spans([*facts.away, *facts.spans("memory full")])
    if (cancel := case.notes.cancel) and case.cancelled:
        cannot = Spans([*cannot, (cancel.sent, cancel.answered + CANCELLED)])
    ends = [(request.came, (request.ended or request.came) + WRITTEN) for request in case.requests]
    return any(hit.lost for hit in case.hits) or any(cannot.touch(came, end) for came, end in ends)
