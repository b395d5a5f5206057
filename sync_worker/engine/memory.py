"""What a job's processes hold in memory, and the bounds of one process. Read from /proc (Linux; elsewhere nothing).

A job over its limit is stopped by its worker, which looks every 100 ms. Between two looks a process can't
get further than twice the limit: the kernel refuses it (RLIMIT_DATA), which Python sees as a MemoryError.
"""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PAGE = resource.getpagesize()
FIRST_TO_DIE = 500  # of oom_score_adj(5), which goes up to 1000


def children(pid: int) -> list[int]:
    """List the children of a process; none if it is gone, or if the kernel does not say."""
    found: list[int] = []
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def family(pids: Iterable[int]) -> Iterator[int]:
    """Walk through processes and all their descendants."""
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children(pid)


def excess(pids: Iterable[int], limit: int) -> int:
    """Say how many bytes these processes and their descendants hold, if that is more than `limit`; else 0."""
    everybody = list(family(pids))
    held = sum(map(_resident, everybody))
    if held > limit and len(everybody) > 1:
        # Forked processes share pages: now count each page once. It takes longer, so only when it matters.
        held = sum(map(_proportional, everybody))
    return held if held > limit else 0


def bound(limit: int) -> None:
    """Bound this process: its memory, no core dumps, and the first to go when the machine runs out of memory."""
    size = 2 * limit + _data()
    _lower(resource.RLIMIT_DATA, size)
    _lower(resource.RLIMIT_CORE, 0)
    with suppress(OSError):
        _write("/proc/self/oom_score_adj", b"%d" % FIRST_TO_DIE)


def _lower(which: int, size: int) -> None:
    _, most = resource.getrlimit(which)
    size = size if most == resource.RLIM_INFINITY else min(size, most)
    with suppress(OSError, ValueError):  # a system that knows no such limit
        resource.setrlimit(which, (size, size))


def _resident(pid: int) -> int:
    return _statm(str(pid), 1)


def _data() -> int:
    return _statm("self", 5)


def _statm(pid: str, column: int) -> int:
    """Read a column of /proc/<pid>/statm, in bytes; 0 for a process that is gone."""
    try:
        return int(_read(f"/proc/{pid}/statm").split()[column]) * PAGE
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    """Read the proportional set size: a page that n processes share counts 1/n in each."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


# A horse copies each page that it is first to touch: `pathlib` and text files are many.


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)


def _write(path: str, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text)
    finally:
        os.close(file)
