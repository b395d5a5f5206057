"""What this process has heard of parks: a hint, as Redis decides."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from tandem.llm_worker.rate_limit.batch import Batch
from tandem.shared.limits.numbers import BUSY, DOWN, FAILED_ONCE, FREE, US
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits.operations import Parks

log = logging.getLogger("tandem.limiter")

FIRST_NEWS = 2.0  # seconds that a process which has just begun waits, before it asks anybody, to hear who is parked


@dataclass
class _Park:
    ends: float  # by the local clock; then it is tried, until somebody has got an answer
    kind: str
    lifted: asyncio.Event = field(default_factory=asyncio.Event)


class ParkNews:
    """Listens on a client of its own; what was missed while Redis was away is read afterwards."""

    def __init__(self, listening: AsyncClient, batch: Batch) -> None:
        self._listening = listening
        self._batch = batch
        self._parks: dict[str, _Park] = {}
        self._failing: set[str] = set()  # who gave no answer, to somebody, and none since that we know of
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        asyncio.get_running_loop().call_later(FIRST_NEWS, self._caught_up.set)
        self._task = asyncio.create_task(self._keep_listening(), name="news of parks")

    async def stop(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def knows(self, name: str) -> bool:
        """Tell whether it is parked, or tried after a park; who asks before the first news waits for them."""
        await self._caught_up.wait()
        return name in self._parks

    def left(self, name: str) -> timedelta:
        """How long it is parked; zero if it is not."""
        park = self._parks.get(name)
        return timedelta(seconds=max(0.0, park.ends - time.monotonic())) if park else timedelta()

    def kind(self, name: str) -> str:
        """Why it is parked."""
        return self._parks[name].kind

    async def lifted(self, name: str, within: timedelta) -> None:
        """Wait until a park is lifted, or until `within` has passed."""
        park = self._parks.get(name)
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await (park.lifted if park else asyncio.Event()).wait()

    def forget_failure(self, name: str) -> bool:
        """Forget that nobody answered; whether anybody had failed."""
        failed = name in self._failing
        self._failing.discard(name)
        return failed

    def note(self, name: str, left: timedelta, kind: str) -> None:
        """Take a piece of news: `left` of a park, or that it is lifted, or that somebody got no answer."""
        if kind == FREE:
            self._lift(name)
            return
        if kind in {DOWN, FAILED_ONCE}:
            self._failing.add(name)
        if left:
            ends = time.monotonic() + left.total_seconds()
            park = self._parks.setdefault(name, _Park(ends, kind))
            park.ends, park.kind = max(park.ends, ends), kind

    def _lift(self, name: str) -> None:
        if park := self._parks.pop(name, None):
            park.lifted.set()

    async def _keep_listening(self) -> None:
        outage = Outage(log, "no news of parks")
        while True:
            try:
                async with self._listening.pubsub() as news:
                    await news.subscribe(LimitKey.PARKED)
                    async for message in news.listen():
                        if message["type"] == "subscribe":  # also after a lost connection
                            outage.over()
                            await self._catch_up()
                        elif message["type"] == "message":
                            delay, _, rest = message["data"].decode().partition(" ")
                            name, _, kind = rest.partition("\n")
                            self.note(name, int(delay) * US, kind or BUSY)
            except Exception as error:  # noqa: BLE001 - without the news, parks go unheard for good
                await asyncio.sleep(outage.pause(error))

    async def _catch_up(self) -> None:
        answer = await self._batch.post({"op": "parks"})
        if not isinstance(answer, Parks):
            return
        for gone in self._parks.keys() - {park.name for park in answer.parks}:
            self._lift(gone)
        for park in answer.parks:
            self.note(park.name, max(park.left * US, US), park.kind)
        self._caught_up.set()
