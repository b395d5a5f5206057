"""An attempt's time limit, which is for its work: it stands still while a request waits for a limit or an outage."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import Context, ContextVar
from datetime import timedelta


class TimeLimit:
    """Moves on the deadline of an asyncio time-out by the time that was spent waiting."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._deadline: float | None = None
        self._waiting = 0
        self._since = 0.0
        self._stood = 0.0

    @property
    def expired(self) -> bool:
        return self._timeout.expired()

    @property
    def stood_still(self) -> float:
        """How long it has stood still so far, in seconds."""
        return self._stood + (asyncio.get_running_loop().time() - self._since if self._waiting else 0.0)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let it stand still; of waits side by side the time that any of them takes counts."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        self._waiting += 1
        if self._waiting > 1:
            return
        self._since = asyncio.get_running_loop().time()
        if not self.expired:
            self._deadline = self._timeout.when()
            self._timeout.reschedule(None)

    def _end(self) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        now = asyncio.get_running_loop().time()
        self._stood += now - self._since
        if self._deadline is not None and not self.expired:
            self._timeout.reschedule(self._deadline + now - self._since)


CURRENT: ContextVar[TimeLimit | None] = ContextVar("CURRENT", default=None)


@asynccontextmanager
async def limited(time: timedelta) -> AsyncIterator[TimeLimit]:
    """Let what is within take so long; then it is cancelled, and TimeoutError raised."""
    async with asyncio.timeout(time.total_seconds()) as timeout:
        limit = TimeLimit(timeout)
        token = CURRENT.set(limit)
        try:
            yield limit
        finally:
            CURRENT.reset(token)


def standing_still() -> AbstractContextManager[None]:
    """Let the attempt's time limit, if it has one, stand still for what is within."""
    limit = CURRENT.get()
    return limit.still() if limit else nullcontext()


def stood_still(context: Context) -> float:
    """How long the time limit of what runs in a context has stood still so far, in seconds; 0 while it has none."""
    limit = context.get(CURRENT)
    return limit.stood_still if limit else 0.0


async def wait(delay: timedelta) -> None:
    """Sleep without that the attempt's time limit, if it has one, goes on."""
    with standing_still():
        await asyncio.sleep(delay.total_seconds())
