"""What jobs cost: requests and tokens, as the provider's log counts them."""

from collections.abc import Iterator

from tests.chaos.judge.evidence import WRITTEN, Case, Facts
from tests.chaos.judge.spans import Spans
from tests.chaos.row import Row


def usage(facts: Facts) -> Row:
    """A job's usage is what the provider's log says: never more, and less only of a run that was lost with its worker.

    Tokens that were estimated, of answers that broke off, stand apart.
    """
    faults, exact, apart, tokens, estimated = [], 0, 0, 0, 0
    for case in facts.cases:
        if not case.llm or not case.job or not case.job.finished or case.planned.poison:
            continue
        if facts.unsettled(case):
            apart += 1
            continue
        exact += not _may_be_less(facts, case)
        tokens += told(case)[1]
        estimated += case.job.usage.estimated_tokens
        faults += [f"{case.id} {case.name}: {why}" for why in _wrong(facts, case)]
    shown = f"{tokens:,} tokens that were told, {estimated:,} estimated; {len(faults)} wrong"
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
    # What was sent and cut off before the provider read it is a request to the job, and none to the provider.
    cut = len(case.hits) + len(case.job.attempts)
    if requests > most[0] + cut or (requests < most[0] and not less):
        yield f"says {requests} requests, the provider {most[0]}"
    if tokens > most[1] or (tokens < taken and not less):
        yield f"says {tokens} tokens, the provider {taken} of answers that were taken, {most[1]} of all"


def _may_be_less(facts: Facts, case: Case) -> bool:
    """Say whether a run was lost before it could say what it had cost."""
    cannot = Spans([*facts.away, *facts.spans("memory full")])
    ends = [(request.came, (request.ended or request.came) + WRITTEN) for request in case.requests]
    return any(hit.lost for hit in case.hits) or any(cannot.touch(came, end) for came, end in ends)
