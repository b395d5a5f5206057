"""The names under which one run of a job holds requests, and the first one, which its claim has got for it already."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Self

from tandem.shared.store.leases import Lease

LATE = 1.0  # seconds; a start that is slept through for longer is not made up for beside those of others


@dataclass(kw_only=True)
class Tickets:
    """Tickets are `job:token:number`, by which the limits know whose run holds them.

    `granted` is the provider and model that the claim has got the first request for, to be sent at `due` by the local
    clock; empty: it got none.
    """

    run: str
    granted: str = ""
    due: float = 0.0
    _numbers: "count[int]" = field(default_factory=lambda: count(1), repr=False)

    @classmethod
    def of(cls, lease: Lease) -> Self:
        """Take what a claim has brought."""
        due = time.monotonic() + lease.delay / 1000
        return cls(run=f"{lease.id}:{lease.token}", granted=lease.granted, due=due)

    @property
    def first(self) -> str:
        return f"{self.run}:0"

    def next(self) -> str:
        """Name another request."""
        return f"{self.run}:{next(self._numbers)}"

    def take(self, scope: str) -> timedelta | None:
        """Take the claim's grant, once, if it is of this provider and model, and not slept through: until it starts."""
        if self.granted != scope or time.monotonic() - self.due > LATE:
            return None
        self.granted = ""
        return timedelta(seconds=max(0.0, self.due - time.monotonic()))

    def unused(self) -> str | None:
        """Give the claim's grant up: its ticket, if nobody took it."""
        granted, self.granted = self.granted, ""
        return self.first if granted else None
