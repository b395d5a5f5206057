"""How full Redis's memory is: submissions stop below its limit, so that what ends work, and others, can go on writing.

Each process looks twice a second and counts itself what it has stored since. What several of them store between two
looks can still fill the rest; then Redis refuses what is not marked to end work (`Flag` in shared/store/scripts.py).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from tandem.shared.runtime.redis_client import RAISED, AsyncClient, unavailable

log = logging.getLogger("tandem.redis")

LOOK_EVERY = timedelta(milliseconds=500)
OVERHEAD = 2048  # bytes that a job takes beside its input: its record, its entries in queues and indexes
NO_EVICTION = "noeviction"


@dataclass(frozen=True)
class Usage:
    """Bytes that count against `limit`; 0: nothing limits them. `evicts`: at the limit Redis makes room by itself."""

    used: int
    limit: int
    evicts: bool

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Read what `INFO memory` says, and count as Redis does when it refuses writes."""
        used = int(said.get("used_memory", 0)) - int(said.get("mem_not_counted_for_evict", 0))
        evicts = said.get("maxmemory_policy", NO_EVICTION) != NO_EVICTION
        return cls(used, int(said.get("maxmemory", 0)), evicts)


async def has_room(client: AsyncClient, size: int) -> bool:
    """Tell whether Redis takes `size` more bytes within its limit; where nobody can tell, it does."""
    try:
        seen = Usage.of(await client.info("memory"))
    except RAISED:
        return True
    return not seen.limit or seen.evicts or seen.used + size <= seen.limit


class RedisMemory:
    """Whether Redis has room for what one process wants to store, up to `share` of its limit.

    Where it evicts, it may be full for good and has room all the same.
    """

    def __init__(self, *, share: float) -> None:
        self._share = share
        self._room: float | None = None  # None: without limit, or nobody has looked yet
        self._unseen = 0  # bytes that no look has seen
        self._answered = 0  # those of them that Redis has taken, or refused

    def lacks(self, size: int) -> bool:
        """Tell whether a job with an input of `size` bytes is too much."""
        return self._room is not None and self._unseen + size + OVERHEAD > self._room

    @contextmanager
    def stores(self, size: int) -> Iterator[None]:
        """Count a job with an input of `size` bytes, which the block stores, until somebody has looked again."""
        self._unseen += size + OVERHEAD
        try:
            yield
        finally:
            self._answered += size + OVERHEAD

    @asynccontextmanager
    async def watched(self, client: AsyncClient) -> AsyncIterator[None]:
        """Look again and again for as long as the block lasts."""
        over = asyncio.Event()
        task = asyncio.create_task(self._watch(client, over), name="memory of Redis")
        try:
            yield
        finally:
            over.set()
            task.cancel()  # which redis-py loses if it comes while it connects
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self, client: AsyncClient, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._look(client)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                    await over.wait()

    async def _look(self, client: AsyncClient) -> None:
        """Look; without an answer what was seen last holds, unless Redis will not tell any more."""
        answered = self._answered
        try:
            seen = Usage.of(await client.info("memory"))
        except RAISED as error:
            log.debug("nobody can tell how full Redis is: %s", error)
            if not unavailable(error):  # as its user may not ask: what is unseen would add up, and nothing be taken
                self._room = None
            return
        self._answered -= answered
        self._unseen -= answered
        is_limited = seen.limit > 0 and not seen.evicts
        self._room = self._share * seen.limit - seen.used if is_limited else None
