"""The work horse: one process for one attempt, gone with its parent."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import timedelta

from shared.lifeline import die_with

FORK = multiprocessing.get_context("fork")


class Horse:
    """A forked process that runs `work` in a process group of its own."""

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._process = FORK.Process(target=_saddle, args=(work, os.getpid()), name=name, daemon=False)
        self._process.start()

    def wait(self, timeout: timedelta) -> bool:
        """Wait for the horse's end; False if it still runs after `timeout`."""
        self._process.join(timeout.total_seconds())
        return self._process.exitcode is not None

    @property
    def exit(self) -> str:
        """How it ended, in words."""
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exited with {code}"

    def kill(self) -> None:
        """End the horse and everything it started."""
        if self._process.pid is None or self._process.exitcode is not None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()  # it has not become a group leader yet
        self._process.join()


def _saddle(work: Callable[[], None], parent: int) -> None:
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A horse without its parent would run beside the retry of its job.
    die_with(parent, signal.SIGKILL)
    work()
