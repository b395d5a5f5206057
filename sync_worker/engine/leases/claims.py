"""Asks for the next job, and for an answer that got lost."""

import time
from collections.abc import Sequence

from tandem.shared.config.settings import Settings
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Claim, Claimed, Lease
from tandem.shared.store.scripts import Call
from tandem.sync_worker.compat_rq.adopt import adopt_all


class Claims:
    """A worker's claims, one after the other. `rq_queues` are queues of plain RQ that it serves as well."""

    def __init__(self, settings: Settings, *, worker: str, rq_queues: Sequence[str]) -> None:
        self._settings, self._worker, self._rq_queues = settings, worker, rq_queues
        self._unanswered: Claim | None = None  # the last claim
        self.sent = 0.0  # when that was

    def claim(self, book: Book, *, once: bool = False) -> Lease | None:
        """Claim the next job that waits. Raises StoreUnavailable: the answer is still to come.

        What plain RQ's queues hold is adopted, or refused, on the way. `once`: this must not take long, and there may
        be more.
        """
        while True:
            claimed = self._claim_once(book)
            adopt_all(book, self._settings, claimed)
            if once or claimed.leases or not claimed.unknown:
                return claimed.leases[0] if claimed.leases else None

    def _claim_once(self, book: Book) -> Claimed:
        """Claim; what got no answer is asked again as it was."""
        self._unanswered = self._unanswered or leases.claim_sync(
            worker=self._worker, ttl=self._settings.job_ttl, queues=self._rq_queues
        )
        self.sent = time.monotonic()
        claimed = book.run(self._unanswered)
        self._unanswered = None
        return claimed

    def take_back(self) -> Call[int] | None:
        """Make the call that gives back what the last claim took, if its answer never came."""
        unanswered, self._unanswered = self._unanswered, None
        return leases.disclaim("sync", unanswered, worker=self._worker) if unanswered else None
