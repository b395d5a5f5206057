"""One lease at work in a horse: what bounds it, and how it ended."""

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import ByteSize

from tandem.shared.errors import JobError
from tandem.shared.jobs.attempt import timed_out
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine.attempt import over_memory
from tandem.sync_worker.engine.horses.horse import Horse
from tandem.sync_worker.engine.leases.renewal import Kept
from tandem.sync_worker.engine.plan import Plan

log = logging.getLogger("tandem.sync_worker")

LOOK_EVERY = timedelta(milliseconds=100)  # at the time and the memory of a job
HORSES = 3  # for one attempt: one that dies before the job has begun is replaced


@dataclass(eq=False)
class Run:
    """An attempt; its lease is `kept` as long as it runs."""

    kept: Kept
    plan: Plan
    horse: Horse
    horses: int = 1  # that it has had
    _began: float = field(default_factory=time.monotonic)
    _looked: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.horse.begin(self.lease, self.kept.place.number)

    @property
    def lease(self) -> Lease:
        return self.kept.lease

    @property
    def can_begin_anew(self) -> bool:
        """Whether its horse died before the job had begun, and it may have another."""
        return not self.horse.begun and self.horses < HORSES

    def begin_anew(self, horse: Horse) -> None:
        """Give it another horse."""
        self.horse = horse
        self.horses += 1
        self._began = time.monotonic()
        horse.begin(self.lease, self.kept.place.number)

    def overdrawn(self, memory: ByteSize) -> JobError | None:
        """Say what it has too much of: time, or memory of which `memory` bytes are allowed."""
        now = time.monotonic()
        # Once its work is done, its outcome may wait for Redis: the limits are for the work.
        if now - self._looked < LOOK_EVERY.total_seconds() or self.kept.place.done:
            return None
        self._looked = now
        if now - self._began > self.plan.timeout.total_seconds():
            return timed_out(self.lease.task, self.plan.timeout)
        if used := self.horse.excess():
            return over_memory(used, memory)
        return None

    @property
    def lease_is_over(self) -> bool:
        """Whether its work has to stop before another worker gets the job."""
        return not self.kept.place.done and self.kept.over
