"""One row of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One goal, and how it stands; `faults` says what is wrong, one line each.

    `samples` is how often it was put to the test, counted by what is rarest in it: fewer than `least` tell nothing, and
    the goal is not met. `apart` says what was not counted, and why.
    `speed`: a busy machine misses it, so it tells nothing when tests run side by side.
    """

    goal: str
    measured: str
    faults: list[str]
    samples: int = 1
    least: int = 1
    speed: bool = False
    apart: str = ""

    @property
    def enough(self) -> bool:
        return self.samples >= self.least

    @property
    def met(self) -> bool:
        return self.enough and not self.faults

    @property
    def wrong(self) -> list[str]:
        """Say why it is not met, one line each."""
        few = [] if self.enough else [f"too few: {self.samples} of {self.least}"]
        return [*few, *self.faults]
