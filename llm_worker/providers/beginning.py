"""Whether an attempt has begun: a job that is given back then would lose answers, come or on their way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from tandem.llm_worker.rate_limit.gate import Exchange

Admit = Callable[[bool], AbstractAsyncContextManager[Exchange]]


class Beginning:
    """Counts an attempt's answers, and its requests under way.

    The first request waits alone for its admission, and may give the job back instead; all others wait in place.
    """

    def __init__(self) -> None:
        self._answers = 0
        self._under_way = 0
        self._first = asyncio.Lock()

    @property
    def begun(self) -> bool:
        return bool(self._answers or self._under_way)

    @asynccontextmanager
    async def request(self, admit: Admit) -> AsyncIterator[Exchange]:
        """Send one request within the block; `admit` is told whether the attempt has begun."""
        async with AsyncExitStack() as stack:
            exchange = await self._admitted(admit, stack)
            try:
                yield exchange
                self._answers += 1
            finally:
                self._under_way -= 1

    async def _admitted(self, admit: Admit, stack: AsyncExitStack) -> Exchange:
        if not self.begun:
            async with self._first:
                if not self.begun:
                    return await self._enter(admit(False), stack)  # noqa: FBT003 - a Callable has no names
        return await self._enter(admit(True), stack)  # noqa: FBT003

    async def _enter(self, admission: AbstractAsyncContextManager[Exchange], stack: AsyncExitStack) -> Exchange:
        exchange = await stack.enter_async_context(admission)
        self._under_way += 1
        return exchange
