"""The horse that waits: forked ahead, while the last job runs or the worker idles, so that no job waits for a fork."""

import logging
import time
from contextlib import suppress
from datetime import timedelta

from tandem.sync_worker.engine.horses.horse import Horse, Ready

log = logging.getLogger("tandem.sync_worker")

STALE = timedelta(minutes=1)  # what it shares with its worker was so when it was forked


class Stable:
    """Forks horses, of which one at most waits. A horse runs one job, by what `ready` gives, and ends with it."""

    def __init__(self, ready: Ready, *, memory: int) -> None:
        self._ready, self._memory = ready, memory
        self._waiting: Horse | None = None
        self._is_short = False  # of processes, memory or files, as it was at the last try

    def keep(self) -> None:
        """See that a horse waits, alive and not for too long.

        Raises:
            OSError: none waits, and there is no room for another process.

        """
        old = self._waiting
        if old and self._is_dead(old):
            old = None
        if old is None or time.monotonic() - old.born > STALE.total_seconds():
            self._replace(old)

    def _replace(self, old: Horse | None) -> None:
        try:
            self._waiting = self._fork()
        except OSError as error:
            self._say_short(error)
            if old is None:
                raise
            return
        self._is_short = False
        if old:
            old.kill()

    def keep_beside(self) -> None:
        """As `keep`, while a job runs: what fails must not hurt that one, and is tried again."""
        with suppress(OSError):
            self.keep()

    def take(self) -> Horse:
        """Give the horse that waits, or a new one if there is none. Raises OSError as `keep`."""
        horse, self._waiting = self._waiting, None
        return horse if horse and not self._is_dead(horse) else self._fork()

    def close(self) -> None:
        """End the horse that waits."""
        horse, self._waiting = self._waiting, None
        if horse:
            horse.kill()

    def _fork(self) -> Horse:
        return Horse(self._ready, memory=self._memory, siblings=lambda: self.pids)

    @property
    def pids(self) -> set[int]:
        """The process that waits, if any."""
        return {self._waiting.pid} if self._waiting else set()

    def _say_short(self, error: OSError) -> None:
        if not self._is_short:
            log.warning("no process could be forked for the next job: %s", error)
        self._is_short = True

    def _is_dead(self, horse: Horse) -> bool:
        if not horse.ended:
            return False
        horse.kill()  # it is waited for, and its output shown
        log.warning("the process that waited for a job %s", horse.exit)
        self._waiting = None
        return True
