"""Turns: few prepare a call at a time, so that Redis works on the first ones' calls while the next are prepared.

Requests that come together would otherwise all be prepared before the first call is sent, and then all wait: gateway
and Redis would work one after the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar

PLACES = 8


def _nothing() -> None:
    """End no turn."""


_end: ContextVar[Callable[[], None]] = ContextVar("end of the turn", default=_nothing)


class Turns:
    """At most `PLACES` blocks run at a time, each until its call is sent or until its end."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PLACES)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place. The block must wait for nobody but the job book: others wait for its place."""
        await self._places.acquire()
        place = ExitStack()
        place.callback(self._places.release)
        token = _end.set(place.close)
        try:
            yield
        finally:
            place.close()
            _end.reset(token)


def end_of_turn() -> Callable[[], None]:
    """Give what ends this task's turn, if it has one; it may be called again and from elsewhere."""
    return _end.get()
