"""The gateway's job book: what comes together goes together.

Calls of one tick of the event loop are sent in one round trip. And few requests prepare a call at a time, in turns, so
that Redis works on the first ones' calls while the next are prepared: otherwise all would be prepared before the first
call is sent, and then all wait, so that gateway and Redis would work one after the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.scripts import Call

T = TypeVar("T")

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


_Waiting = tuple[Call[Any], asyncio.Future[Any], Callable[[], None]]


class BatchingBook(AsyncBook):
    """A job book that sends all calls of one tick of the event loop in one round trip."""

    def __init__(self, client: AsyncClient, *, patience: float | None = None) -> None:
        super().__init__(client, patience=patience)
        self.turns = Turns()
        self._waiting: list[_Waiting] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, call: Call[T]) -> T:
        """Run one call, together with those of its neighbours."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future, end_of_turn()))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send)
        return await future

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.create_task(self._deliver(batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, batch: list[_Waiting]) -> None:
        for _, _, end_turn in batch:
            end_turn()
        calls = [call for call, _, _ in batch]
        try:
            outcomes = await self.attempt_all(calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller has to hear of it
            outcomes = [error for _ in calls]
        for (_, future, _), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue  # its caller was cancelled
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
