"""Duties that fail: each fails alone, is said once and counted."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from redis.exceptions import RedisError

from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.errors import trace
from tandem.shared.store import maintenance
from tandem.shared.store.executor import Book

T = TypeVar("T")
log = logging.getLogger("tandem.clock")


class Faults:
    """Which duties fail now. An outage of Redis is none of theirs: it stops all, and is raised."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._failing: set[str] = set()

    def guarded(self, duty: str, act: Callable[[], T]) -> T | None:
        """Do a duty; what it raises ends nothing but its step. Gives what the duty gives, None if it failed.

        Raises:
            StoreUnavailable: Redis is away.

        """
        try:
            done = act()
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other duties have to be done
            self.note(duty, error)
            return None
        self.over(duty)
        return done

    def note(self, duty: str, error: Exception) -> None:
        """Count a fault; the first of a row is an error in the log, the others are quiet."""
        level = logging.DEBUG if duty in self._failing else logging.ERROR
        self._failing.add(duty)
        said = f"{error}\n" if isinstance(error, RedisError) else ""  # which key it was; it tells no values
        log.log(level, "%s fails, the other duties go on:\n%s%s", duty, said, trace(error))
        with suppress(Exception):  # the counters may be what is spoilt
            self._book.run(maintenance.count_fault(duty))

    def over(self, duty: str) -> None:
        """Say that a duty that failed is done again."""
        if duty in self._failing:
            self._failing.discard(duty)
            log.info("%s is done again", duty)
