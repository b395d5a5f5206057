"""In which order waiting jobs begin, seen outside: first in, first out, and before all others what is handed back."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.judge.evidence import LEASE, Case, Facts, Hit
from tests.chaos.judge.hits import SETTLE
from tests.chaos.row import Row

SHARE = 0.75  # of the pairs
FEW = 10  # pairs; fewer say nothing
NEXT = 50  # jobs, with which each is compared
APART = 0.5  # seconds between the acceptance of two jobs, and for which the first one waits with the second, at least
REPRIEVE = 5.0  # seconds that a lease lasts longer after an outage
FOUND = 1.0  # seconds until it is seen that a lease is over
WAITS = frozenset({"delay", "run_at", "expires_in"})


def first_in(facts: Facts) -> Iterator[Row]:
    """Of two jobs of one priority and model that waited at the same time, the one that came first begins first."""
    groups: dict[str, dict[tuple[str, str], list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in facts.cases:
        if _plain(facts, case):
            kind = case.planned.query.get("priority", "normal"), case.model
            groups["llm" if case.llm else "sync"][kind].append(case)
    # Few jobs of the LLM pool wait in a short run.
    for pool, least in (("llm", facts.least(0, 500)), ("sync", facts.least(FEW, 500))):
        won = [pair for cases in groups[pool].values() for pair in _pairs(cases)]
        yield _row(f"{pool}: first in, first out in ≥ 75 % of pairs", won, least)


def _plain(facts: Facts, case: Case) -> bool:
    """Say whether nothing but when it came places it."""
    notes = case.notes
    moved = case.hits or notes.cancel or notes.retry or case.planned.poison or WAITS & case.planned.query.keys()
    return not moved and notes.accepted is not None and bool(case.signs) and not facts.unsettled(case)


def _pairs(cases: list[Case]) -> Iterator[bool]:
    """Say of each pair that waited at the same time whether the first one began first."""
    came = sorted((case.notes.sent, case.notes.accepted or case.notes.sent, case.signs[0].at) for case in cases)
    for place, (_, accepted, began) in enumerate(came):
        for sent, later, other in came[place + 1 : place + 1 + NEXT]:
            if later < began - APART and sent > accepted + APART:
                yield began < other


def handed_back(facts: Facts) -> Row:
    """What a sync worker that was ended had to leave begins before others that wait when it is handed back."""
    waiting = [(case.notes.accepted or 0.0, case.signs[0].at) for case in facts.cases if _of_sync(facts, case)]
    won = []
    for case in facts.cases:
        for hit in case.hits:
            back, again = _back(facts, hit), _again(case, hit)
            if back is not None and again is not None and again > back and not case.notes.cancel:
                won += [again < began for accepted, began in waiting if accepted < back < began]
    return _row("sync: handed back = first to begin in ≥ 75 % of pairs", won, facts.least(FEW, 500))


def _of_sync(facts: Facts, case: Case) -> bool:
    return not case.llm and _plain(facts, case)


def _back(facts: Facts, hit: Hit) -> float | None:
    """Give the time at which the job of a sync worker waits again: it was handed back, or its lease is over."""
    if hit.deed.role not in {"sync worker", "sync supervisor"} or not hit.lost or not hit.sure:
        return None
    back = hit.at + FOUND + (facts.grace if hit.deed.kind == "SIGTERM" else LEASE)
    for start, end in facts.away:
        if start <= back and end >= hit.at:
            back = max(back, end + REPRIEVE + FOUND)
    return back


def _again(case: Case, hit: Hit) -> float | None:
    """Give the time at which it was at work again, if nothing else happened to it until then."""
    if case.planned.poison or case.notes.retry:
        return None
    found = next((s.at for s in case.signs if s.at > hit.at + SETTLE and s.by != hit.deed.target), None)
    if found is None or any(hit.at < other.at < found for other in case.hits):
        return None
    return found


def _row(goal: str, won: list[bool], least: int) -> Row:
    shown = f"in {100 * sum(won) / len(won):.0f} % of {len(won):,} pairs" if won else "no pair"
    well = len(won) < FEW or sum(won) >= SHARE * len(won)
    return Row(goal=goal, measured=shown, faults=[] if well else [f"only {shown}"], samples=len(won), least=least)
