"""A process that must not outlive its parent."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here: it is called between fork and exec


def die_with(parent: int, signum: signal.Signals) -> None:
    """Have the kernel send `signum` to this process when `parent`, its parent, dies. Linux only; elsewhere a no-op."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), signum)


def adopt() -> None:
    """Become the parent of descendants whose own parent dies, so that none gets away. Linux only; elsewhere a no-op."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
