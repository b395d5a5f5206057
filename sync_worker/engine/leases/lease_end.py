"""Until when the leases of running jobs hold for certain, in memory that worker, supervisor and horses share."""

import mmap
import time

MOST = 64  # leases of one worker
END, DONE = 0, 1  # what is where in a lease's place


class LeaseEnd:
    """One lease's: a time of this machine's monotonic clock, 0 while nothing runs here.

    It is for the work: once that is done and only its outcome is written, the lease's token decides.
    """

    def __init__(self, shared: "memoryview[float]", number: int) -> None:
        self.number = number
        self._shared = shared

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


class LeaseEnds:
    """The places of all leases that a worker may hold at once. Made before the fork."""

    def __init__(self) -> None:
        shared = memoryview(mmap.mmap(-1, MOST * 16)).cast("d")
        self._places = [LeaseEnd(shared[2 * number : 2 * number + 2], number) for number in range(MOST)]

    def __getitem__(self, number: int) -> LeaseEnd:
        return self._places[number]

    def clear(self) -> None:
        """Say that nothing runs."""
        for place in self._places:
            place.clear()

    def left(self) -> float | None:
        """Give the seconds that are left of the lease that ends first, as `LeaseEnd.left`."""
        return min((left for place in self._places if (left := place.left()) is not None), default=None)
