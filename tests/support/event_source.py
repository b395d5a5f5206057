"""A client of server-sent events that comes again after whatever breaks, as an EventSource does."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True)
class Seen:
    """One event as it came."""

    id: int
    kind: str
    data: Any


def parse(text: str) -> Iterator[Seen]:
    """Read the events of a whole stream; comments are left out."""
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "data" in fields:
            yield Seen(int(fields["id"]), fields["event"], json.loads(fields["data"]))


@dataclass
class Watcher:
    """Watches one job through any of `urls` until its end, and keeps what it saw."""

    urls: Sequence[str]
    job_id: str
    key: str = "ann-key-0123456789abc"
    restless: bool = False  # leaves now and then, in the middle of a stream
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    @property
    def ended(self) -> bool:
        return bool(self.seen) and self.seen[-1].kind == "end"

    async def run(self, client: httpx.AsyncClient) -> None:
        while not self.ended:
            try:
                await self._connect(client)
            except httpx.TransportError:
                await asyncio.sleep(0.05)

    async def _connect(self, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        if self.seen:
            headers["Last-Event-ID"] = str(self.seen[-1].id)
        url = f"{random.choice(self.urls)}/v1/jobs/{self.job_id}/events"  # noqa: S311
        stay = random.randint(0, 6) if self.restless else -1  # noqa: S311
        async with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                await asyncio.sleep(0.05)
                return
            assert answer.status_code == httpx.codes.OK, await answer.aread()
            self.connections += 1
            rest = ""
            async for text in answer.aiter_text():
                *whole, rest = (rest + text).split("\n\n")
                for event in parse("".join(f"{block}\n\n" for block in whole)):
                    if stay == 0:
                        return
                    self.seen.append(event)
                    stay -= 1


def connections() -> httpx.AsyncClient:
    """Open a client with a connection for each watcher."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(timeout=httpx.Timeout(20, pool=None), limits=limits)


def whole(seen: Sequence[Seen]) -> bool:
    """Tell whether these are all events of a job, each once and in order."""
    return [event.id for event in seen] == list(range(1, len(seen) + 1)) and seen[-1].kind == "end"
