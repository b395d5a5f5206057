"""Repeated measurements of one figure: medians, percentiles, spreads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.lab.processes import NotMeasuredError


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one figure."""

    values: list[float]

    @property
    def runs(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float:
        if not self.values:
            raise NotMeasuredError("no value")
        return median(self.values)

    def show(self, unit: str = "", digits: int = 0) -> str:
        """Write the median, and the least and the most if there are several."""
        low, high = min(self.values), max(self.values)
        spread = f" ({low:,.{digits}f}–{high:,.{digits}f})" if len(self.values) > 1 else ""
        return f"{self.median:,.{digits}f}{spread}{' ' + unit if unit else ''}"


@dataclass(frozen=True)
class Latencies:
    """Latencies in ms, a list a run: percentiles are taken over all of them, their spread is that of the runs."""

    turns: list[list[float]]

    @property
    def runs(self) -> int:
        return len(self.turns)

    @property
    def all(self) -> list[float]:
        return [value for turn in self.turns for value in turn]

    def at(self, percent: float) -> float:
        if not self.all:
            raise NotMeasuredError("no value")
        return percentile(self.all, percent)

    def show(self, *percents: int) -> str:
        """Write percentiles (p50 and p99 if none is named), each with what single runs gave."""
        return ", ".join(f"p{percent} {self._one(percent)} ms" for percent in percents or (50, 99))

    def _one(self, percent: int) -> str:
        each = [percentile(turn, percent) for turn in self.turns]
        spread = f" ({min(each):.1f}–{max(each):.1f})" if len(each) > 1 else ""
        return f"{self.at(percent):.1f}{spread}"


def alternating(names: list[Any], repeats: int) -> list[tuple[int, Any]]:
    """Give every round's order; every other round runs backwards, so that nobody always comes first."""
    return [(turn, name) for turn in range(repeats) for name in (names if turn % 2 == 0 else names[::-1])]
