"""The worker's supervisor: a small process before it, which ends what the worker leaves behind when it is killed.

A job's process dies with its worker, because the kernel tells a process of its parent's death. What the job had
started is not told, and goes to the nearest ancestor that adopts orphans. That is the worker while it lives, and
the supervisor afterwards. If the supervisor is killed, the worker ends its job and follows it.

It also ends the worker and its jobs when the lease of one has ended and the worker has not stopped it: it is suspended,
or waits for an answer. The job may be another worker's soon. Linux only.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from tandem.shared.runtime.parent_death import adopt, die_with
from tandem.sync_worker.engine.leases.lease_end import LeaseEnds
from tandem.sync_worker.engine.memory import children

BLINK = 0.01  # seconds
GONE_WITHIN = 5.0  # seconds; what is killed and still there after that hangs in the kernel
PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
ALONE = signal.SIGTERM  # what the worker gets when its supervisor dies


LOOK_EVERY = 0.5  # seconds; a lease that is new lasts for longer


def supervise() -> tuple[int, LeaseEnds]:
    """Fork: the child returns and is the worker, this process is its supervisor and ends as the worker ends.

    Gives the id of the process that others know, the supervisor's, and where it reads when the leases end.
    """
    supervisor, lease_ends = os.getpid(), LeaseEnds()
    if sys.platform != "linux":
        return supervisor, lease_ends
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    adopt()
    worker = os.fork()
    if worker:
        code = _wait(worker, lease_ends)
        end(lambda: children(supervisor))
        _leave(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    die_with(supervisor, ALONE)
    return supervisor, lease_ends


def end(these: Callable[[], list[int]], *, within: float = GONE_WITHIN) -> None:
    """Kill these children of this process, and those that it adopts from them, until there are none."""
    deadline = time.monotonic() + within
    while (found := these()) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(BLINK)


def _wait(worker: int, lease_ends: LeaseEnds) -> int:
    """Pass signals on until the worker ends; gives its exit code. Orphans that end meanwhile are reaped."""
    while True:
        left = lease_ends.left()
        if left == 0:
            _kill(worker, lease_ends)
        told = signal.sigtimedwait({*PASSED_ON, signal.SIGCHLD}, min(left or LOOK_EVERY, LOOK_EVERY))
        if told is None:
            continue
        if told.si_signo != signal.SIGCHLD:
            os.kill(worker, told.si_signo)
            continue
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == worker:
                return os.waitstatus_to_exitcode(ended[1])


def _kill(worker: int, lease_ends: LeaseEnds) -> None:
    sys.stderr.write("the worker did not stop a job before its lease ended; it is ended, and its jobs\n")
    lease_ends.clear()
    os.kill(worker, signal.SIGKILL)  # the job's process follows, and what it started is a child of this one then


def _leave(code: int) -> NoReturn:
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)
