"""Puts this process's memory on huge pages, as far as it goes: a fork then copies one table entry for 2 MiB.

With pages of 4 KiB it copies 512, and the end of each forked process gives them up again. What a process writes to is
still copied by 4 KiB. Linux since 6.1; elsewhere, and where huge pages are switched off, a no-op.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tandem.shared.runtime.parent_death import LIBC

HUGE = 2 * 2**20
MADV_COLLAPSE = 25  # of madvise(2)
OURS = "rw-p 00000000 00:00 0"  # private memory that belongs to no file


def collapse() -> None:
    """Do it for all memory that is there now. Takes some 20 ms."""
    if sys.platform != "linux":
        return
    for start, end in _ranges():
        LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_COLLAPSE)  # what fails stays as it was


def _ranges() -> Iterator[tuple[int, int]]:
    """Find what a huge page could hold, but for stacks."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            place, _, rest = line.partition(" ")
            if not rest.startswith(OURS) or "[stack" in rest:
                continue
            first, last = (int(address, 16) for address in place.split("-"))
            start, end = -(-first // HUGE) * HUGE, last // HUGE * HUGE
            if start < end:
                yield start, end
