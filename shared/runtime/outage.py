"""Waiting for Redis: pauses that grow up to a second, and one line in the log an outage instead of one a try."""

import logging
import time
from collections.abc import Iterator
from datetime import timedelta

from tandem.shared.errors import StoreUnavailable
from tandem.shared.types.backoff import Backoff

PAUSES = Backoff(base=timedelta(milliseconds=50), cap=timedelta(seconds=1))


class Outage:
    """What one loop does while Redis is away: `pause` after each try that failed, `over` after one that did not.

    `waiting` and `args` say in the log who waits; `patience` is how long, None for ever. The sleeping is the
    caller's: `time.sleep(outage.pause(error))` or `await asyncio.sleep(outage.pause(error))`.
    """

    __slots__ = ("_args", "_began", "_level", "_log", "_patience", "_pauses", "_waiting")

    def __init__(
        self,
        log: logging.Logger,
        waiting: str,
        *args: object,
        patience: timedelta | None = None,
        level: int = logging.WARNING,
    ) -> None:
        self._log, self._waiting, self._args, self._level = log, waiting, args, level
        self._patience = patience
        self._began = 0.0
        self._pauses: Iterator[timedelta] | None = None

    def pause(self, error: Exception) -> float:
        """Give the seconds to sleep before the next try.

        Raises:
            StoreUnavailable: Redis has been away for longer than `patience`.

        """
        if self._pauses is None:
            self._began = time.monotonic()
            self._pauses = PAUSES.delays()
            self._log.log(self._level, f"{self._waiting}: %s", *self._args, error)
        if self._patience is not None and time.monotonic() - self._began >= self._patience.total_seconds():
            raise StoreUnavailable(f"Redis did not answer for {self._patience.total_seconds():g} s: {error}")
        return next(self._pauses).total_seconds()

    def over(self) -> None:
        """Begin anew with the next outage; if one was on, say that it is over."""
        if self._pauses is not None:
            self._pauses = None
            self._log.log(self._level, "Redis is back after %.1f s", time.monotonic() - self._began)
