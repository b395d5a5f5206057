"""What a provider's log tells of a limit: how much came when, and from when on a new limit holds."""

import bisect
from collections.abc import Callable, Sequence

STEP = 0.1  # seconds


def busiest(arrivals: list[tuple[float, int]], span: float = 60.0) -> int:
    """Give the most that came within any `span` seconds, of times and amounts in order."""
    most = total = start = 0
    for came, amount in arrivals:
        total += amount
        while came - arrivals[start][0] >= span:
            total -= arrivals[start][1]
            start += 1
        most = max(most, total)
    return most


def number(times: Sequence[float], begin: float, end: float) -> int:
    """Count those of `times`, which are in order, that lie in the half-open stretch."""
    return bisect.bisect_left(times, end) - bisect.bisect_left(times, begin)


def first(holds: Callable[[float], bool], begin: float, end: float) -> float | None:
    """Give the first moment at which `holds`, looked at in steps; None if it never does."""
    return next((moment for moment in _moments(begin, end) if holds(moment)), None)


def settled(holds: Callable[[float], bool], begin: float, end: float) -> float | None:
    """Give the first moment from which on `holds` to the end; None if it does not at the end."""
    moments = _moments(begin, end)
    last = max((place for place, moment in enumerate(moments) if not holds(moment)), default=-1)
    return moments[last + 1] if last + 1 < len(moments) else None


def at_once(spans: Sequence[tuple[float, float]], begin: float, end: float) -> int:
    """Give the most that lasted at the same time in a stretch."""
    inside = [(max(came, begin), min(gone, end)) for came, gone in spans if came < end and gone > begin]
    changes = sorted([(came, 1) for came, _ in inside] + [(gone, -1) for _, gone in inside])
    most = now = 0
    for _, change in changes:  # at the same moment the ends come first
        now += change
        most = max(most, now)
    return most


def _moments(begin: float, end: float) -> list[float]:
    return [begin + step * STEP for step in range(int((end - begin) / STEP + 1e-6) + 1)]
