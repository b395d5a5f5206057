"""The work horse: one process for one attempt, gone with its parent, and everything that it started with it.

It is forked before its job is there (engine/horses/stable.py), and waits for it.
"""

import faulthandler
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import timedelta
from types import FrameType

from tandem.shared.jobs.errors import log_threads, trace
from tandem.shared.runtime.parent_death import die_with
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine import memory, supervisor
from tandem.sync_worker.engine.horses.orders import Orders
from tandem.sync_worker.engine.horses.output import Output

IGNORED = (signal.SIGTERM, signal.SIGINT)
BLINK = 0.01  # seconds between two looks where the kernel can't tell us of a process's end

Ready = Callable[[], Callable[[Lease], None]]


class Horse:
    """A forked process that makes ready, waits for a lease and runs it, with `memory` bytes at most.

    It is the leader of a process group of its own. `ready` gives what runs a lease; `siblings` are children of this
    process that are no job's doing.
    """

    def __init__(self, ready: Ready, *, memory: int, siblings: Callable[[], Collection[int]]) -> None:
        self._memory, self._siblings = memory, siblings
        self._orders, self._output = Orders(), Output()
        self._elder_children: frozenset[int] | None = None  # when its job began
        self._status: int | None = None
        parent = os.getpid()
        sys.stdout.flush()
        # Before it ignores them a signal would run the worker's handlers in it, which end the horse that runs.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _run(lambda: self._live(ready, parent, mask))
        except OSError:
            self._output.discard()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.born = time.monotonic()
        self._orders.keep_workers_end()
        os.close(self._output.writer)
        self._end = _end_of(self.pid)

    def begin(self, lease: Lease) -> None:
        """Have it run this lease. Only when it has `begun` has anything been done for it."""
        self._output.name = f"{lease.task} {lease.id}"
        self._elder_children = frozenset(_children())
        self._orders.send(lease)

    @property
    def begun(self) -> bool:
        return self._orders.begun

    def wait(self, timeout: timedelta) -> bool:
        """Wait for the horse's end; what it started ends with it.

        False if it still runs after `timeout`, or has begun just now.
        """
        deadline, begun = time.monotonic() + timeout.total_seconds(), self.begun
        while not self.ended:
            if (left := deadline - time.monotonic()) <= 0 or self.begun != begun:
                return False
            self._listen(left)
        self.kill()
        return True

    @property
    def exit(self) -> str:
        """How it ended, in words."""
        code = os.waitstatus_to_exitcode(self._status) if self._status is not None else None
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with {code}"

    def excess(self) -> int:
        """Say how many bytes it and its descendants hold, if that is more than its limit; else 0."""
        return memory.excess([self.pid, *self._strays()], self._memory)

    def kill(self) -> None:
        """End the horse and everything it started, also what left its group."""
        if self._status is not None:
            return
        # Before the horse is waited for: until then nobody else can get its number.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)  # it may not have become a group leader yet
        _, self._status = os.waitpid(self.pid, 0)
        self._orders.go_on()  # hear its last word
        self._orders.close()
        if self._end is not None:
            os.close(self._end)
        supervisor.end(self._strays)
        self._output.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended; it may not have been waited for yet."""
        if self._status is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _listen(self, seconds: float) -> None:
        """Sleep until it ends, prints or can be told more."""
        poll = select.poll()
        self._orders.watch(poll)
        if self._output.open:
            poll.register(self._output.reader, select.POLLIN)
        if self._end is not None:
            poll.register(self._end, select.POLLIN)
        else:
            seconds = min(seconds, BLINK)
        ready = poll.poll(seconds * 1000)
        if any(fd == self._output.reader for fd, _ in ready):
            self._output.pass_on()
        self._orders.go_on()

    def _strays(self) -> list[int]:
        """List the orphans among its descendants: this process has adopted them (see `parent_death.adopt`)."""
        if self._elder_children is None:
            return []
        others = {self.pid, *self._elder_children, *self._siblings()}
        return [pid for pid in _children() if pid not in others]

    def _live(self, ready: Ready, parent: int, mask: Iterable[int]) -> None:
        """Wait for the lease and run it, in the new process."""
        _prepare(parent, mask)
        self._orders.keep_horses_end()
        self._output.take()
        _no_input()
        log_threads()
        faulthandler.enable()  # a segmentation fault says where
        memory.bound(self._memory)
        work = ready()
        if lease := self._orders.receive():
            self._orders.say_begun()
            work(lease)


def _end_of(pid: int) -> int | None:
    """Give a file descriptor that becomes readable when the process ends; None if the kernel has no such thing."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _children() -> list[int]:
    return memory.children(os.getpid())


def _run(work: Callable[[], None]) -> None:
    """Run `work` as the whole life of this process."""
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - nothing may go back into the parent's loop
        sys.stderr.write(f"{trace(error)}\n")
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _prepare(parent: int, mask: Iterable[int]) -> None:
    os.setpgrp()
    _ignore_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # A horse without its parent would run beside the retry of its job.
    die_with(parent, signal.SIGKILL)


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
