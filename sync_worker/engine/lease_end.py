"""Until when the running job's lease holds for certain, in memory that worker, supervisor and horse share."""

import mmap
import time

END, DONE = 0, 1  # what is where


class LeaseEnd:
    """A time of this machine's monotonic clock; 0 while no job runs. Made before the fork.

    It is for the work: once that is done and only its outcome is written, the lease's token decides.
    """

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, 16)).cast("d")

    def set(self, end: float) -> None:
        """Say when the work has to have ended."""
        self._shared[END] = end

    def set_done(self) -> None:
        """Say that the work is done, whatever the worker sets from now on: said by the horse, whose worker may hang."""
        self._shared[DONE] = 1.0

    def clear(self) -> None:
        """Say that nothing runs."""
        self._shared[END] = 0.0
        self._shared[DONE] = 0.0  # not before: the supervisor may look in between

    @property
    def done(self) -> bool:
        """Whether the work is done."""
        return self._shared[DONE] == 1.0

    def left(self) -> float | None:
        """Give the seconds that are left, 0 at least; None if nothing runs, or its work is done."""
        if self.done:
            return None
        end = self._shared[END]  # read after the other: see `clear`
        return max(end - time.monotonic(), 0.0) if end else None
