"""The work horse: one process for one attempt, gone with its parent, and everything that it started with it.

It is forked before its job is there (engine/horses/stable.py), and waits for it.
"""

import faulthandler
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType

from tandem.shared.jobs.errors import log_threads, trace
from tandem.shared.runtime.parent_death import LIBC, adopt, die_with
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine import memory
from tandem.sync_worker.engine.horses.orders import Orders
from tandem.sync_worker.engine.horses.output import Output

IGNORED = (signal.SIGTERM, signal.SIGINT)
PR_SET_NAME = 15  # of prctl(2)
AT_WORK = b"tandem-job"  # its name then; one that waits is called as its worker

Work = Callable[[Lease, int], None]


class Horse:
    """A forked process that waits for a lease and runs it, with `memory` bytes at most.

    It is the leader of a process group of its own. `work` runs a lease, in its place (`LeaseEnd`).
    """

    def __init__(self, work: Work, *, memory: int) -> None:
        self._memory = memory
        self._orders, self._output = Orders(), Output()
        self._status: int | None = None
        parent = os.getpid()
        sys.stdout.flush()
        # Before it ignores them a signal would run the worker's handlers in it, which end the horse that runs.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _run(lambda: self._live(work, parent, mask))
        except OSError:
            self._output.discard()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.born = time.monotonic()
        self._orders.keep_workers_end()
        os.close(self._output.writer)
        self._end = _end_of(self.pid)

    def begin(self, lease: Lease, place: int) -> None:
        """Have it run this lease. Only when it has `begun` has anything been done for it."""
        self._output.name = f"{lease.task} {lease.id}"
        self._orders.send(lease, place)

    @property
    def begun(self) -> bool:
        return self._orders.begun

    @property
    def written(self) -> bool:
        """Whether its outcome is written, and nothing is left to it but to end."""
        return self._orders.written

    @property
    def exit(self) -> str:
        """How it ended, in words."""
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with {code}"

    def excess(self) -> int:
        """Say how many bytes it and its descendants hold, if that is more than its limit; else 0."""
        return memory.excess([self.pid], self._memory)

    def kill(self) -> None:
        """End the horse and its group, and hear its last word. What left the group is its worker's child then."""
        if self._status is not None:
            return
        # Before the horse is waited for: until then nobody else can get its number.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)  # it may not have become a group leader yet
        _, self._status = os.waitpid(self.pid, 0)
        self._orders.go_on()
        self._orders.close()
        if self._end is not None:
            os.close(self._end)

    def close_output(self) -> None:
        """Show the rest of what it printed, when nobody is left who prints."""
        self._output.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended; it may not have been waited for yet."""
        if self._status is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def watch(self, poll: select.poll) -> bool:
        """Wait with others for its end, its output and its word; False if the kernel can't tell of its end."""
        self._orders.watch(poll)
        if self._output.open:
            poll.register(self._output.reader, select.POLLIN)
        if self._end is not None:
            poll.register(self._end, select.POLLIN)
        return self._end is not None

    def hear(self, ready: Iterable[int]) -> None:
        """Pass on what it printed, if that is among the files with something to read; hear its word, tell it more."""
        if self._output.reader in ready:
            self._output.pass_on()
        self._orders.go_on()

    def _live(self, work: Work, parent: int, mask: Iterable[int]) -> None:
        """Wait for the lease and run it, in the new process."""
        _prepare(parent, mask)
        self._orders.keep_horses_end()
        self._output.take()
        _no_input()
        log_threads()
        faulthandler.enable()  # a segmentation fault says where
        memory.bound(self._memory)
        if order := self._orders.receive():
            _be_called(AT_WORK)
            self._orders.say_begun()
            work(*order)
            _flush()
            self._orders.say_written()


def _end_of(pid: int) -> int | None:
    """Give a file descriptor that becomes readable when the process ends; None if the kernel has no such thing."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _run(work: Callable[[], None]) -> None:
    """Run `work` as the whole life of this process."""
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - nothing may go back into the parent's loop
        sys.stderr.write(f"{trace(error)}\n")
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()


def _prepare(parent: int, mask: Iterable[int]) -> None:
    os.setpgrp()
    _ignore_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # A horse without its parent would run beside the retry of its job.
    die_with(parent, signal.SIGKILL)
    adopt()  # the orphans among its descendants are its own as long as it lives, and its worker's afterwards


def _be_called(name: bytes) -> None:
    """Have tools such as `top` show this process by that name. Linux only."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_NAME, name)


def _ignore_signals() -> None:
    """Only its worker ends a job. Who stops a service tells all its processes, and a job has time to end."""
    horse = os.getpid()

    def ignore(signum: int, _frame: FrameType | None) -> None:
        if os.getpid() != horse:  # a fork of the job's own; in other programs that it starts the kernel does this
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    for signum in IGNORED:
        signal.signal(signum, ignore)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the worker's own end


def _no_input() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
