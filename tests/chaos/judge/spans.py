"""Stretches of time, as those in which Redis was away."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """Stretches of time, sorted and joined where they overlap."""

    def __init__(self, spans: Iterable[tuple[float, float]] = ()) -> None:
        self._spans: list[tuple[float, float]] = []
        for start, end in sorted(spans):
            if self._spans and start <= self._spans[-1][1]:
                self._spans[-1] = (self._spans[-1][0], max(end, self._spans[-1][1]))
            else:
                self._spans.append((start, end))
        self._starts = [start for start, _ in self._spans]

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return iter(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self._spans)

    def within(self, start: float, end: float) -> float:
        """Say how many seconds between two times are in a span."""
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self._between(start, end))

    def touch(self, start: float, end: float) -> bool:
        """Say whether any time from `start` to `end` is in a span."""
        return any(since <= end and until >= start for since, until in self._between(start, end))

    def over(self, moment: float, gap: float) -> float:
        """Give when the span is over that `moment` is in, or that begins within `gap` seconds, and so on from there."""
        for since, until in self._between(moment, float("inf")):
            if since > moment + gap:
                break
            moment = max(moment, until)
        return moment

    def _between(self, start: float, end: float) -> list[tuple[float, float]]:
        first = max(0, bisect_right(self._starts, start) - 1)
        return self._spans[first : bisect_right(self._starts, end)]


def all_at_once(groups: Iterable[Spans]) -> Spans:
    """Give the stretches in which each of the groups has a span."""
    kept = list(groups)
    edges = sorted((at, step) for spans in kept for start, end in spans for at, step in ((start, 1), (end, -1)))
    found, open_now, since = [], 0, 0.0
    for at, step in edges:
        if open_now == len(kept) and at > since:
            found.append((since, at))
        open_now, since = open_now + step, at
    return Spans(found)
