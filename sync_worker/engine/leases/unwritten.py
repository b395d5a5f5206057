"""What a worker has to write and Redis does not take for now: tried again beside the jobs that run."""

import logging
import time
from dataclasses import dataclass
from typing import Any

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.store.executor import Book
from tandem.shared.store.scripts import Call

log = logging.getLogger("tandem.sync_worker")


@dataclass
class _Waiting:
    call: Call[Any]
    outage: Outage
    due: float = 0.0


class Unwritten:
    """Calls that must not be lost. None of them holds up the worker for longer than `book` waits for one answer."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._waiting: list[_Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, call: Call[Any]) -> None:
        """Have it written by the next `write`."""
        self._waiting.append(_Waiting(call, Outage(log, "%s waits for Redis", call.name)))

    def write(self) -> None:
        """Write what Redis takes; where it takes one not, it is not asked about the others at once."""
        while self._waiting and self._waiting[0].due <= time.monotonic():
            first = self._waiting[0]
            try:
                self._book.run(first.call)
            except StoreUnavailable as error:
                first.due = time.monotonic() + first.outage.pause(error)
                return
            except BaseException:
                del self._waiting[0]  # a mistake, which would be one again
                raise
            del self._waiting[0]
