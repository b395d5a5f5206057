"""How far a job is, as its handler says: checked, and written about ten times a second at most."""

import math
from typing import Any

from tandem.shared.jobs.events import Kind

EVERY = 0.1  # seconds between two writes
OUTAGE = 1.0  # seconds; while Redis is away, a handler is not held up for every step
MOST_TEXT = 500  # characters of a message


def entry(done: float, total: float | None, message: str | None) -> tuple[Kind, dict[str, Any]]:
    """Make the event.

    Raises:
        ValueError: a number is negative, infinite or no number, or `done` exceeds `total`.

    """
    for name, number in (("done", done), ("total", total)):
        if number is not None and not (_is_number(number) and math.isfinite(number) and number >= 0):
            raise ValueError(f"progress: {name} must be a number from 0 on, not {number!r}")
    if total is not None and done > total:
        raise ValueError(f"progress: done={done} is more than total={total}")
    # Redis takes UTF-8, and a lone surrogate has none.
    text = None if message is None else str(message)[:MOST_TEXT].encode(errors="replace").decode()
    return Kind.PROGRESS, {"done": done, "total": total, "message": text}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Pace:
    """When the next step may be written. The last one, with `done` equal to `total`, always may."""

    def __init__(self) -> None:
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Give the seconds until the next step may be written."""
        return max(self._next - now, 0.0)

    def wrote(self, now: float, *, well: bool) -> None:
        """Note that a step was written, `well` or not."""
        self._next = now + (EVERY if well else OUTAGE)
