"""The horses of a worker: one or some wait for their jobs, some run one, some are done and on their way out.

Those that wait are forked ahead, while jobs run or the worker idles, so that no job waits for a fork. One that is done
has written its outcome: the next job does not wait for its process to end.
"""

import logging
import os
import time
from collections import deque
from contextlib import suppress
from datetime import timedelta

from tandem.sync_worker.engine import memory as memory_of
from tandem.sync_worker.engine import supervisor
from tandem.sync_worker.engine.horses.horse import Horse, Work

log = logging.getLogger("tandem.sync_worker")

STALE = timedelta(minutes=1)  # what it shares with its worker was so when it was forked
# At once, if so many were taken within a second: after a fork a process copies what it writes to, and so it does that
# once for all of them.
AHEAD, LATELY = 4, 1.0
LEAVES_WITHIN = 1.0  # seconds; one that is done has nothing to do but to end
STRAYS_GONE_WITHIN = 2.0  # seconds; meanwhile no lease is renewed


class Stable:
    """Forks horses, of which a few at most wait. A horse runs one job, by `work`, and ends with it.

    Further children of this process are what ended horses have left behind, as a horse that lives has adopted its own;
    but for those that were there before.
    """

    def __init__(self, work: Work, *, memory: int) -> None:
        self._work, self._memory = work, memory
        self._elders = frozenset(memory_of.children(os.getpid()))
        self._waiting: list[Horse] = []
        self._taken: deque[float] = deque([-LATELY] * AHEAD, AHEAD)  # when the last ones were
        self._working: list[Horse] = []
        self._leaving: dict[Horse, float] = {}  # until when
        self._is_short = False  # of processes, memory or files, as it was at the last try

    @property
    def has_one(self) -> bool:
        """Whether a horse waits; it may have died."""
        return bool(self._waiting)

    def keep(self) -> None:
        """See that a horse waits, alive and not for too long, and not more of them than are wanted.

        Raises:
            OSError: none waits, and there is no room for another process.

        """
        old = self._waiting = [horse for horse in self._waiting if not self._is_dead(horse)]
        if not old or time.monotonic() - old[0].born > STALE.total_seconds():
            self._replace(old)
        while len(self._waiting) > self._wanted:
            self._put_down(self._waiting.pop())

    @property
    def _wanted(self) -> int:
        return max(1, sum(taken > time.monotonic() - LATELY for taken in self._taken))

    def _replace(self, old: list[Horse]) -> None:
        young: list[Horse] = []
        try:
            young.extend(self._fork() for _ in range(self._wanted))
        except OSError as error:
            self._say_short(error)
            if not (old or young):
                raise
        if not young:
            return
        self._is_short = False
        self._waiting = [*old, *young]
        for horse in old:
            self._waiting.remove(horse)
            self._put_down(horse)

    def keep_beside(self) -> None:
        """As `keep`, while jobs run: what fails must not hurt those, and is tried again."""
        with suppress(OSError):
            self.keep()

    def take(self) -> Horse:
        """Give a horse that waits, or a new one if there is none. Raises OSError as `keep`."""
        self._taken.append(time.monotonic())
        while self._waiting:
            horse = self._waiting.pop(0)
            if not self._is_dead(horse):
                break
        else:
            horse = self._fork()
        self._working.append(horse)
        return horse

    def release(self, horse: Horse) -> None:
        """Let one go that is done."""
        self._working.remove(horse)
        self._leaving[horse] = time.monotonic() + LEAVES_WITHIN

    @property
    def leaving(self) -> list[Horse]:
        return list(self._leaving)

    def see_off(self) -> None:
        """End what those leave behind that are gone, and those that do not go."""
        for horse, latest in list(self._leaving.items()):
            if horse.ended or time.monotonic() > latest:
                del self._leaving[horse]
                self._put_down(horse)

    def kill(self, horse: Horse) -> None:
        """End one that works, or has ended, and everything that it started."""
        self._working.remove(horse)
        self._put_down(horse)

    def kill_all(self) -> None:
        """End all that were given a job, and everything that they started."""
        for horse in [*self._working, *self._leaving]:
            with suppress(OSError):  # it was just being ended
                horse.kill()
        supervisor.end(self._strays, within=STRAYS_GONE_WITHIN)

    def close(self) -> None:
        """End the horses that wait, and see those off that are done."""
        for horse in [*self._leaving, *self._waiting]:
            self._put_down(horse)
        self._leaving, self._waiting = {}, []

    def _fork(self) -> Horse:
        return Horse(self._work, memory=self._memory)

    def _put_down(self, horse: Horse) -> None:
        horse.kill()
        supervisor.end(self._strays, within=STRAYS_GONE_WITHIN)
        horse.close_output()

    def _strays(self) -> list[int]:
        known = self.pids | self._elders
        return [pid for pid in memory_of.children(os.getpid()) if pid not in known]

    @property
    def pids(self) -> set[int]:
        """The processes of all horses."""
        return {horse.pid for horse in [*self._waiting, *self._working, *self._leaving]}

    def _say_short(self, error: OSError) -> None:
        if not self._is_short:
            log.warning("no process could be forked for the next job: %s", error)
        self._is_short = True

    def _is_dead(self, horse: Horse) -> bool:
        if not horse.ended:
            return False
        self._put_down(horse)  # it is waited for, and its output shown
        log.warning("the process that waited for a job %s", horse.exit)
        return True
