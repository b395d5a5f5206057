"""One row of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One goal, and how it stands; `faults` says what is wrong, one line each."""

    goal: str
    measured: str
    faults: list[str]

    @property
    def met(self) -> bool:
        return not self.faults
