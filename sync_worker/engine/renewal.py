"""Keeps the lease of the running job."""

import logging
import time

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.store import leases, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease

log = logging.getLogger("tandem.sync_worker")


class Renewal:
    """One lease, to be kept from now on. `book` is the one for renewals: it does not wait long for an answer."""

    def __init__(self, book: Book, lease: Lease, *, worker: str) -> None:
        self._book, self._lease, self._worker = book, lease, worker
        self._due = time.monotonic() + scripts.RENEW_EVERY.total_seconds()
        self._outage = Outage(log, "lease of %s not renewed", lease.id)

    @property
    def due(self) -> bool:
        """Whether it is time for `renew`."""
        return time.monotonic() > self._due

    def renew(self) -> bool:
        """Renew; False: the lease is lost. Without an answer it is due again at once, on a new connection."""
        try:
            lost = self._book.run(leases.renew("sync", [self._lease], worker=self._worker))
        except StoreUnavailable as error:
            self._due = time.monotonic() + self._outage.pause(error)
            return True
        self._outage.over()
        self._due = time.monotonic() + scripts.RENEW_EVERY.total_seconds()
        return not lost
