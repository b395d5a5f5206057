"""When Redis did not answer: recovery is counted while it does."""

import asyncio
import time

import redis

from tests.chaos.platform import Platform

EVERY = 0.05  # seconds


class Outages:
    """Asks Redis again and again, and remembers the times without an answer."""

    def __init__(self, platform: Platform) -> None:
        self._client = redis.Redis.from_url(platform.valkey.url, socket_timeout=0.2, socket_connect_timeout=0.2)
        self.spans: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Ask until cancelled."""
        while True:
            asked = time.time()
            if not await asyncio.to_thread(self._answers):
                await asyncio.to_thread(self._wait)
                self.spans.append((asked, time.time()))
            await asyncio.sleep(EVERY)

    def within(self, start: float, end: float) -> float:
        """Say for how many of the seconds between two times Redis was away."""
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self.spans)

    @property
    def seconds(self) -> float:
        return sum(until - since for since, until in self.spans)

    def _wait(self) -> None:
        while not self._answers():
            time.sleep(EVERY)

    def _answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False
