"""Keeps the lease of the running job, and knows until when it holds."""

import logging
import time

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, is_away
from tandem.shared.store import leases, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine.lease_end import LeaseEnd

log = logging.getLogger("tandem.sync_worker")

# Seconds before the lease's end: the worker stops the work itself, and if it can't, its supervisor ends them both.
KILL_BEFORE = scripts.LEASE.total_seconds() / 12
STOP_BEFORE = KILL_BEFORE + 0.25
AGAIN_WITHIN = 0.25  # seconds after a renewal without an answer


class Renewal:
    """One lease, to be kept from now on.

    `book` is the one for renewals: it does not wait long for an answer. `claimed` is when the claim was sent: the
    lease began after that. `lease_end` is told until when it holds, by what Redis has confirmed.
    """

    def __init__(self, book: Book, lease: Lease, *, worker: str, claimed: float, lease_end: LeaseEnd) -> None:
        self._book, self._lease, self._worker, self._shared = book, lease, worker, lease_end
        self._due = claimed + scripts.RENEW_EVERY.total_seconds()
        self._outage = Outage(log, "lease of %s not renewed", lease.id)
        self._away_since: float | None = None
        self.answered = True  # the last renewal
        self._end = 0.0
        self._holds_until(claimed + scripts.LEASE.total_seconds())

    @property
    def due(self) -> bool:
        """Whether it is time for `renew`; not where it might be silent for longer than the lease lasts."""
        now = time.monotonic()
        return now > self._due and (self._away_since is not None or now + LEASE_TIMEOUT < self._end - STOP_BEFORE)

    @property
    def over(self) -> bool:
        """Whether the work has to stop: another worker may get the job soon."""
        return time.monotonic() > self._end - STOP_BEFORE

    def renew(self) -> bool:
        """Renew; False: the lease is lost. Without an answer it is due again at once, on a new connection."""
        sent = time.monotonic()
        try:
            lost = self._book.run(leases.renew("sync", [self._lease], worker=self._worker))
        except StoreUnavailable as error:
            self.answered = False
            self._heed_outage(sent, error)
            self._due = time.monotonic() + min(self._outage.pause(error), AGAIN_WITHIN)
            return True
        self._outage.over()
        self.answered = True
        self._away_since = None
        self._holds_until(sent + scripts.LEASE.total_seconds())
        self._due = time.monotonic() + scripts.RENEW_EVERY.total_seconds()
        return not lost

    def _heed_outage(self, sent: float, error: StoreUnavailable) -> None:
        """While Redis is away for all, nobody else can claim; and after such a gap all leases get a reprieve.

        Silence proves nothing: others may be heard.
        """
        if not is_away(error):
            self._away_since = None
            return
        self._away_since = self._away_since or sent
        if sent - self._away_since > scripts.GAP.total_seconds():
            self._holds_until(sent + scripts.REPRIEVE.total_seconds())

    def _holds_until(self, end: float) -> None:
        self._end = max(self._end, end)
        self._shared.set(self._end - KILL_BEFORE)
