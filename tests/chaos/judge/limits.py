"""The provider's limits: never exceeded, used up while work waits, and the urgent first."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from tests.chaos.judge.capacity import llm_busy
from tests.chaos.judge.evidence import Case, Facts, percentile
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Request
from tests.chaos.plan.model import Limit
from tests.chaos.row import Row

UPPER, LOWER = 1.01, 0.95
# A request's tokens are known when it ends: in 10 s one makes some per cent.
LATE = 1.0  # seconds' worth of requests that a worker may send late that had no time: it was allowed them before
BACKLOG = 10  # jobs that wait for a model, at least, where its limit must be used up
STEPS = 6  # in each window
SAME = 5.0  # seconds: jobs accepted within these are compared by priority
WAITED = 1.0  # seconds that half of the others wait there, at least
FIRST = 0.75  # of the pairs, in which the high one is to be asked first: of 20 turns the others have 4


def _window(facts: Facts) -> float:
    return 60.0 if facts.until - facts.began > 120 else 10.0


def within(facts: Facts) -> Iterator[Row]:
    """The provider sees no more than a model's limits in any window of a minute, or of 10 s in a short run."""
    seconds = _window(facts)
    for model, limit in facts.limits.items():
        asked = [request for request in facts.requests if request.model == model]
        for name, amount, weights in _kinds(limit, asked):
            share = amount * seconds / 60
            sums = list(_sums([request.came for request in asked], weights, seconds))
            most = max((inside for _, inside in sums), default=0)
            allowed = UPPER * share + LATE * amount / 60 + max(weights, default=0)
            over = [at for at, inside in sums if inside > allowed + _late(facts, at - seconds, at) * amount / 60]
            shown = f"at most {most:,} in {seconds:g} s, {100 * most / share:.1f} % ({len(asked):,} requests)"
            yield Row(
                goal=f"{model}: {name} ≤ 101 % + a second's + one request",
                measured=shown,
                faults=[f"{shown}, the last one at {over[0] - facts.began:.0f} s"] if over else [],
                samples=len(asked),
                least=facts.least(40, 2_000),
            )


def _kinds(limit: Limit, asked: Sequence[Request]) -> Iterator[tuple[str, int, list[int]]]:
    yield "RPM", limit.rpm, [1] * len(asked)
    if limit.tpm:
        yield "TPM", limit.tpm, [request.tokens for request in asked]


def _late(facts: Facts, start: float, end: float) -> float:
    """Say for how many seconds' worth of requests LLM workers went on after a stop, each with its own, in a window."""
    stops = [deed.ended for deed in facts.deeds if (deed.kind, deed.role) == ("SIGSTOP", "llm worker")]
    return LATE * sum(start < (ended or 0.0) <= end for ended in stops)


def _sums(came: Sequence[float], weights: Sequence[int], seconds: float) -> Iterator[tuple[float, int]]:
    """Give what was asked in the window that ends with each request."""
    inside, first = 0, 0
    for last, at in enumerate(came):
        inside += weights[last]
        while came[first] <= at - seconds:
            inside -= weights[first]
            first += 1
        yield at, inside


def used(facts: Facts) -> Iterator[Row]:
    """While at least ten jobs wait for a model, the tighter of its limits is used up, in each window."""
    for model, limit in facts.limits.items():
        asked = [request for request in facts.requests if request.model == model]
        parts, apart = _parts(facts, model, limit, asked)
        low = [f"{100 * part:.0f} % of {model} used in the {_window(facts):g} s from {at:.0f} s" for at, part in parts]
        faults = [line for line, (_, part) in zip(low, parts, strict=True) if part < LOWER]
        shown = f"{len(parts)} windows"
        if parts:
            values = [part for _, part in parts]
            worst, half = min(values), percentile(values, 0.5)
            shown = f"at least {100 * worst:.0f} %, half of them {100 * half:.0f} %, in {shown}"
        yield Row(
            goal=f"{model}: ≥ 95 % used while ≥ {BACKLOG} wait",
            measured=shown,
            faults=faults,
            samples=len(parts),
            least=facts.least(1, 20),
            speed=True,
            apart=f"{apart:.0f} s of outages, and those in which no LLM worker was free" if apart else "",
        )


def _parts(facts: Facts, model: str, limit: Limit, asked: Sequence[Request]) -> tuple[list[tuple[float, float]], float]:
    """Give the part of the limit used in each window, with its time since the load began; and the seconds taken out."""
    seconds = _window(facts)
    away = Spans([*facts.unwritable, *llm_busy(facts)])
    came = [request.came for request in asked]
    sums = [(amount, [0, *accumulate(weights)]) for _, amount, weights in _kinds(limit, asked)]
    parts, apart = [], 0.0
    for start, end in backlog(facts, model, BACKLOG):
        apart += away.within(start, end)
        at = start
        while at + seconds <= end:
            counted = seconds - away.within(at, at + seconds)
            if counted >= seconds / 2:
                first, last = bisect_left(came, at), bisect_left(came, at + seconds)
                share = max((total[last] - total[first]) / (amount * counted / 60) for amount, total in sums)
                parts.append((at - facts.began, share))
            at += seconds / STEPS
    return parts, apart


def backlog(facts: Facts, model: str, least: int) -> Spans:
    """Give the times in which at least so many jobs wait for a model."""
    steps = []
    for case in facts.cases:
        if case.model != model or case.notes.accepted is None or case.planned.poison:
            continue
        due = max(case.notes.accepted, facts.due(case) or 0.0)
        if case.signs and case.signs[0].at > due:
            steps += [(due, 1), (case.signs[0].at, -1)]
    waiting, since, found = 0, 0.0, []
    for at, step in sorted(steps):
        if waiting >= least:
            found.append((since, at))
        waiting, since = waiting + step, at
    return Spans(found)


def priorities(facts: Facts) -> Row:
    """Where jobs wait for a limit, the provider is asked for high ones before others accepted in the same 5 s."""
    groups: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in facts.cases:
        if case.model not in facts.limits or not _plain(case) or case.notes.accepted is None or not case.signs:
            continue
        place = (case.model, int(case.notes.accepted / SAME))
        urgent = case.planned.query.get("priority") == "high"
        groups[place]["high" if urgent else "low"].append(case.signs[0].at - case.notes.accepted)
    pairs, first = 0, 0
    for waits in groups.values():
        low = sorted(waits["low"])
        if not low or low[len(low) // 2] < WAITED:
            continue
        for high in waits["high"]:
            pairs, first = pairs + len(low), first + len(low) - bisect_right(low, high)
    shown = f"in {100 * first / pairs:.0f} % of {pairs:,} pairs" if pairs else "no pair"
    faults = [f"the high one was asked first {shown}"] if pairs and first < FIRST * pairs else []
    return Row(
        goal="high before others at the provider in ≥ 75 % of pairs",
        measured=shown,
        faults=faults,
        samples=pairs,
        least=facts.least(10, 500),
    )


def _plain(case: Case) -> bool:
    """Say whether nothing but its priority places it: what was hit goes first, what has a delay waits."""
    return not (case.hits or case.notes.cancel or {"delay", "run_at"} & case.planned.query.keys())
