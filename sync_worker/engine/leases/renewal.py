"""Keeps the leases of the running jobs, and knows until when each holds."""

import logging
import time
from dataclasses import dataclass

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, is_away
from tandem.shared.store import leases, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine.leases.lease_end import LeaseEnd

log = logging.getLogger("tandem.sync_worker")

# Seconds before the lease's end: the worker stops the work itself, and if it can't, its supervisor ends them all.
KILL_BEFORE = scripts.LEASE.total_seconds() / 12
STOP_BEFORE = KILL_BEFORE + 0.25
AGAIN_WITHIN = 0.25  # seconds after a renewal without an answer


@dataclass(eq=False)
class Kept:
    """A lease that is renewed. Its `place` is told until when it holds, by what Redis has confirmed."""

    lease: Lease
    place: LeaseEnd
    end: float = 0.0
    lost: bool = False

    def holds_until(self, end: float) -> None:
        self.end = max(self.end, end)
        self.place.set(self.end - KILL_BEFORE)

    @property
    def over(self) -> bool:
        """Whether the work has to stop: another worker may get the job soon."""
        return time.monotonic() > self.end - STOP_BEFORE


class Renewal:
    """All leases that a worker holds, renewed together: that call also says what it runs.

    `book` is the one for renewals: it does not wait long for an answer.
    """

    def __init__(self, book: Book, *, worker: str) -> None:
        self._book, self._worker = book, worker
        self._kept: list[Kept] = []  # the oldest first
        self._due = 0.0
        self._outage = Outage(log, "leases not renewed")
        self._away_since: float | None = None

    def keep(self, lease: Lease, place: LeaseEnd, *, claimed: float) -> Kept:
        """Keep a lease from now on. `claimed` is when the claim was sent: the lease began after that."""
        kept = Kept(lease, place)
        kept.holds_until(claimed + scripts.LEASE.total_seconds())
        due = claimed + scripts.RENEW_EVERY.total_seconds()
        self._due = min(self._due, due) if self._kept else due
        self._kept.append(kept)
        return kept

    def drop(self, kept: Kept) -> None:
        """Renew it no more: its work is over."""
        self._kept.remove(kept)
        kept.place.clear()

    @property
    def can_wait(self) -> bool:
        """Whether Redis may be asked something: were it silent, no work would have to be stopped meanwhile."""
        ends = [kept.end for kept in self._kept if not kept.place.done]
        return not ends or time.monotonic() + LEASE_TIMEOUT < min(ends) - STOP_BEFORE

    @property
    def due(self) -> bool:
        """Whether it is time for `renew`."""
        if not self._kept or time.monotonic() <= self._due:
            return False
        return self._away_since is not None or self.can_wait

    def renew(self) -> bool:
        """Renew; says whether Redis answered. Without an answer it is due again at once, on a new connection."""
        sent, held = time.monotonic(), [kept for kept in self._kept if not kept.lost]
        try:
            lost = self._book.run(leases.renew("sync", [kept.lease for kept in held], worker=self._worker))
        except StoreUnavailable as error:
            self._heed_outage(sent, error)
            self._due = time.monotonic() + min(self._outage.pause(error), AGAIN_WITHIN)
            return False
        self._outage.over()
        self._away_since = None
        for job_id in lost:
            # Of two runs of one job it is the older one's; the other's loss, if it is lost as well, is said next time.
            next(kept for kept in held if kept.lease.id == job_id and not kept.lost).lost = True
        self._hold_until(sent + scripts.LEASE.total_seconds())
        self._due = time.monotonic() + scripts.RENEW_EVERY.total_seconds()
        return True

    def _hold_until(self, end: float) -> None:
        for kept in self._kept:
            if not kept.lost:
                kept.holds_until(end)

    def _heed_outage(self, sent: float, error: StoreUnavailable) -> None:
        """While Redis is away for all, nobody else can claim; and after such a gap all leases get a reprieve.

        Silence proves nothing: others may be heard.
        """
        if not is_away(error):
            self._away_since = None
            return
        self._away_since = self._away_since or sent
        if sent - self._away_since > scripts.GAP.total_seconds():
            self._hold_until(sent + scripts.REPRIEVE.total_seconds())
