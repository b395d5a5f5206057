"""Exponential backoff with equal jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015)."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

MOST_DOUBLINGS = 30


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Try number n waits between half of and all of `base * 2**(n-1)`, at most `cap`."""

    base: timedelta
    cap: timedelta

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """Wait after try number `attempt` (1, 2, …): half of the full wait at `jitter` 0, all of it at 1."""
        full = min(self.cap, self.base * (1 << min(attempt - 1, MOST_DOUBLINGS)))
        return full * (0.5 + jitter / 2)

    def delays(self, *, draw: Callable[[], float] = random.random) -> Iterator[timedelta]:
        """Give the waits after the first try, the second, … without end."""
        return (self.delay(attempt, jitter=draw()) for attempt in count(1))
