"""What a measurement gives: findings, one for each row of the table, and series for the pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SAME = 0.02  # nearer to each other than this is called equal


@dataclass(frozen=True)
class Finding:
    """One goal, or a part of one.

    `met` is None for a row that has no goal of its own, and for what was not measured. `versus` says of such a row who
    is ahead. `runs` is how many measurements the figures come from, `peer_runs` how many the peer's do, if
    that differs. `headline` is its name among README's figures.
    """

    goal: str
    wanted: str
    measured: str
    peer: str = ""
    ratio: str = ""
    met: bool | None = None
    runs: int = 1
    versus: str = ""
    headline: str = ""
    peer_runs: int = 0


def not_measured(goal: str, wanted: str, why: object) -> Finding:
    return Finding(goal, wanted, f"not measured: {why}", runs=0)


def beside(
    goal: str,
    name: str,
    ratio: float,
    *,
    ours: str,
    theirs: str,
    runs: int,
    peer_runs: int = 0,
    wanted: str = "",
    least: float | None = None,
    headline: str = "",
    words: tuple[str, str] = ("faster", "slower"),
) -> Finding:
    """Make the row of a comparison; a ratio over 1 is in the platform's favour.

    With a `least` ratio the row has a goal; without, it says in `words` who is ahead.
    """
    met = None if least is None else ratio >= least
    ahead = versus(name, ratio, words) if least is None else ""
    return Finding(goal, wanted, ours, f"{name} {theirs}", _times(ratio), met, runs, ahead, headline, peer_runs)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 20 else f"{ratio:.2f}×"


def versus(name: str, ratio: float, words: tuple[str, str]) -> str:
    if abs(ratio - 1) < SAME:
        return f"as {name}"
    return f"{words[0] if ratio > 1 else words[1]} than {name}"


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
