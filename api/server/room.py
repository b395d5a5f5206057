"""Bytes that a process may hold at once, however many ask for some."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """So many bytes; who needs more than are free waits in line."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, size: int, *, patience: float) -> AsyncIterator[None]:
        """Hold `size` bytes for as long as the block lasts. What is larger than the whole room needs all of it.

        Raises:
            TimeoutError: they were not free within `patience` seconds.

        """
        size = min(size, self._size)
        await self._enter(size, patience)
        try:
            yield
        finally:
            self._free += size
            self._admit()

    async def _enter(self, size: int, patience: float) -> None:
        place = asyncio.get_running_loop().create_future()
        self._line.append((size, place))
        self._admit()
        try:
            async with asyncio.timeout(patience):
                await place
        except BaseException:
            if place.done() and not place.cancelled():  # it was let in at the very moment when it gave up
                self._free += size
            self._admit()
            raise

    def _admit(self) -> None:
        while self._line:
            size, place = self._line[0]
            if not place.done() and size > self._free:
                return
            self._line.popleft()
            if not place.done():  # else it gave up
                self._free -= size
                place.set_result(None)
