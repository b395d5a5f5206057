"""What a worker writes in its horse's place: how an attempt ended that could not say so itself."""

import logging
import random
from dataclasses import dataclass
from datetime import timedelta

from tandem.shared.errors import JobError
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Decision, HandBack, decide
from tandem.shared.store import leases
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import Call
from tandem.shared.tasks.spec import RetryPolicy

log = logging.getLogger("tandem.sync_worker")

AFTER_CRASH = timedelta(seconds=1)


@dataclass(frozen=True)
class Endings:
    """Each gives the call that writes it; `ttl` is that of a job that has ended."""

    ttl: timedelta

    def crashed(self, lease: Lease) -> Call[bool]:
        """Its process ended; an outcome that it has written makes this a no-op, as its lease is over."""
        return leases.crash(lease, ttl=self.ttl, delay=AFTER_CRASH)

    def handed_back(self, lease: Lease) -> Call[bool]:
        """It is stopped through no fault of its own."""
        log.info("handing back %s", lease.id)
        return self.decided(lease, HandBack(timedelta(0)))

    def gave_up(self, lease: Lease, policy: RetryPolicy, error: JobError) -> Call[bool]:
        """It failed of this error."""
        decision = decide(error, policy, attempt=lease.attempt, jitter=random.random())  # noqa: S311
        log.warning("%s: attempt %d failed, %s", lease.id, lease.attempt, decision)
        return self.decided(lease, decision)

    def decided(self, lease: Lease, decision: Decision) -> Call[bool]:
        return leases.give_up(lease, decision, usage=Usage(), ttl=self.ttl)
