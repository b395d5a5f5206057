"""One row of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One goal, and how it stands; `faults` says what is wrong, one line each.

    `speed`: a busy machine misses it, so it tells nothing when tests run side by side.
    """

    goal: str
    measured: str
    faults: list[str]
    speed: bool = False

    @property
    def met(self) -> bool:
        return not self.faults
