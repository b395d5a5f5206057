"""The lock of RUN_DIR: one platform at a time. It goes with its process, and names it."""

import fcntl
import os
from pathlib import Path

NAME = "lock"


def take(run_dir: Path) -> bool:
    """Take the lock for as long as this process lives; False: another process has it."""
    descriptor = os.open(run_dir / NAME, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return True


def holder(run_dir: Path) -> int | None:
    """Tell the process whose platform runs here; None: none does. 0: one of an older version, which wrote no name."""
    try:
        with (run_dir / NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((run_dir / NAME).read_text() or 0)
    return None
