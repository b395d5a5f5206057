"""Bounds of what users write: how long a template and a document may compute, and how much a template may write."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

MAX_SECONDS = 10.0  # of computing, which a table of 5,000 rows does in a quarter of a second
MAX_LAYOUT_SECONDS = 120.0  # of computing, for a document that its sender wrote; one of ours ends by its shape
AGAIN = 0.05  # seconds
MAX_CHARACTERS = 10_000_000


class Unbounded(Exception):
    """A bound was reached; the message says which."""


class _TooLong(BaseException):
    """Raised out of any loop. No Exception, so that nothing on the way takes it for one of its own."""


@contextmanager
def bounded_time(seconds: float) -> Iterator[None]:
    """Interrupt what computes for longer than that; waiting does not count. For the main thread of a process only.

    Raises:
        Unbounded: it did.

    """

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        # Again and again: Python drops what is raised while it finalizes an object.
        signal.setitimer(signal.ITIMER_VIRTUAL, AGAIN)
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)  # it may come once more here
    except _TooLong:
        raise Unbounded(f"it did not come to an end within {seconds:g} s of computing") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def bounded_text(parts: Iterable[str], limit: int) -> str:
    """Join what a template writes.

    Raises:
        Unbounded: it writes more than `limit` characters.

    """
    text: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > limit:
            raise Unbounded(f"it writes more than {limit:,} characters")
        text.append(part)
    return "".join(text)
