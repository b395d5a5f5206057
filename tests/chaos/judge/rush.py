"""Who goes first where many wait: jobs that were submitted while their queue was paused."""

from bisect import bisect_left
from collections.abc import Iterator

from tests.chaos.judge.evidence import Facts
from tests.chaos.row import Row

FIRST = 0.75  # of the pairs of a high and a low one, in which the high one is to begin first: of 20 turns it has 16


def urgent(facts: Facts) -> Iterator[Row]:
    """Of jobs that wait together for a place in their pool, those of high priority begin first."""
    for pool in ("LLM", "sync"):
        begun: dict[str, list[float]] = {"high": [], "low": []}
        for case in facts.cases:
            if case.planned.rush and case.llm is (pool == "LLM") and case.signs and not case.hits:
                begun[case.planned.query["priority"]].append(case.signs[0].at)
        low = sorted(begun["low"])
        pairs = len(begun["high"]) * len(low)
        first = sum(len(low) - bisect_left(low, at) for at in begun["high"])
        shown = f"in {100 * first / pairs:.0f} % of {pairs:,} pairs" if pairs else "no pair"
        yield Row(
            goal=f"{pool}: high begins before low in ≥ 75 % of pairs",
            measured=shown,
            faults=[f"the high one began first {shown}"] if first < FIRST * pairs else [],
            samples=pairs,
            least=100,
        )
