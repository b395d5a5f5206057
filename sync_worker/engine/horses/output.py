"""What a job prints: passed on to the worker's standard error up to a bound, then only counted."""

import fcntl
import logging
import os
import sys
from contextlib import suppress

log = logging.getLogger("tandem.sync_worker")

KEPT = 256 * 1024  # bytes an attempt may print; of more, the end is shown as well
TAIL = 4096
PIPE = 1024 * 1024  # bytes; the job can go on while its worker is busy
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of fcntl(2), Linux
STDOUT, STDERR = 1, 2


class Output:
    """The reading end of a job's standard output and error. A job that prints without end fills no disk."""

    def __init__(self) -> None:
        self.name = "a process without a job"  # of the job, once it is known
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._seen = 0
        self._tail = b""
        self.open = True
        if sys.platform == "linux":
            with suppress(OSError):  # more than an unprivileged user's share
                fcntl.fcntl(self.writer, SET_PIPE_SIZE, PIPE)

    def take(self) -> None:
        """In the job's process: print into the pipe from now on."""
        os.dup2(self.writer, STDOUT)
        os.dup2(self.writer, STDERR)
        os.close(self.reader)
        os.close(self.writer)

    def discard(self) -> None:
        """Close it: there is no process."""
        os.close(self.reader)
        os.close(self.writer)

    def pass_on(self) -> bool:
        """Read what is there; True if there may be more."""
        try:
            chunk = os.read(self.reader, PIPE)
        except BlockingIOError:
            return False
        if not chunk:
            self.open = False
            return False
        room = max(0, KEPT - self._seen)
        self._seen += len(chunk)
        _write(chunk[:room])
        self._tail = (self._tail + chunk[room:][-TAIL:])[-TAIL:]
        return True

    def close(self) -> None:
        """Read the rest, which is at most a pipe full once nobody writes any more, and show the end of too much."""
        while self.pass_on():
            pass
        os.close(self.reader)
        if (dropped := self._seen - KEPT - len(self._tail)) > 0:
            log.warning("%s printed %d bytes, of which %d are dropped; the end:", self.name, self._seen, dropped)
        _write(self._tail)


def _write(text: bytes) -> None:
    with suppress(OSError):  # nobody reads
        while text:
            text = text[os.write(STDERR, text) :]
