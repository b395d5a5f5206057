"""Until when the running job's lease holds for certain, in memory that a worker shares with its supervisor."""

import mmap
import time


class LeaseEnd:
    """A time of this machine's monotonic clock; 0 while no job runs. Made before the fork."""

    def __init__(self) -> None:
        self._time = memoryview(mmap.mmap(-1, 8)).cast("d")

    def set(self, end: float) -> None:
        """Say when the work has to have ended."""
        self._time[0] = end

    def clear(self) -> None:
        """Say that nothing runs, or only its outcome is written: which the lease's token decides."""
        self._time[0] = 0.0

    def left(self) -> float | None:
        """Give the seconds that are left, 0 at least; None if nothing runs."""
        end = self._time[0]
        return max(end - time.monotonic(), 0.0) if end else None
