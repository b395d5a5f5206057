"""What a measurement gives: findings, one for each row of the table, and series for the pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.lab import NotMeasuredError, median


@dataclass(frozen=True)
class Finding:
    """One goal, or a part of one.

    `met` is None for a row that has no goal of its own, and for what was not measured.
    """

    goal: str
    wanted: str
    measured: str
    peer: str = ""
    ratio: str = ""
    met: bool | None = None


def not_measured(goal: str, wanted: str, why: object) -> Finding:
    return Finding(goal, wanted, f"not measured: {why}")


@dataclass
class Result:
    """All that one measurement found; `data` is kept in results.json."""

    findings: list[Finding] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"findings": [asdict(finding) for finding in self.findings], "data": self.data}


@dataclass(frozen=True)
class Effort:
    """How thorough a run is."""

    repeats: int
    scale: float  # of the number of jobs and of durations
    folder: Path
    say: Callable[[str], None]

    def size(self, full: int, least: int = 10) -> int:
        return max(least, round(full * self.scale))


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one figure."""

    values: list[float]

    @property
    def median(self) -> float:
        if not self.values:
            raise NotMeasuredError("no value")
        return median(self.values)

    def show(self, unit: str = "", digits: int = 0) -> str:
        low, high = min(self.values), max(self.values)
        spread = f" ({low:,.{digits}f}–{high:,.{digits}f})" if len(self.values) > 1 else ""
        return f"{self.median:,.{digits}f}{spread}{' ' + unit if unit else ''}"


def alternating(names: list[Any], repeats: int) -> list[tuple[int, Any]]:
    """Give every round's order; every other round runs backwards, so that nobody always comes first."""
    return [(turn, name) for turn in range(repeats) for name in (names if turn % 2 == 0 else names[::-1])]
