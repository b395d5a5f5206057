"""What happens to jobs right now, over one Redis connection however many callers watch."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Self

from fastapi import Depends

from tandem.api.dependencies import from_state
from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Job
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store import commands, events
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key

log = logging.getLogger("tandem.api")

BACKLOG = 256  # events that a slow watcher may leave unread before it is told to read the stream again


class Feed:
    """One watcher's live events. None means: look at the book, something may have been missed."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    async def next(self) -> Event | None:
        """Wait for the next one."""
        return await self._queue.get()

    def put(self, event: Event | None) -> None:
        """Add one; a watcher that does not keep up loses what it can read from the stream."""
        if self._queue.qsize() >= BACKLOG:
            while not self._queue.empty():
                self._queue.get_nowait()
            event = None
        self._queue.put_nowait(event)


class Subscriptions:
    """Hands each watched job's events to those who watch it."""

    def __init__(self, client: AsyncClient, book: AsyncBook) -> None:
        self._client = client
        self._book = book
        self._feeds: defaultdict[str, set[Feed]] = defaultdict(set)
        self._subscribed: set[str] = set()  # channels that Redis has confirmed
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None
        self.stopping = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen(), name="watched jobs")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @asynccontextmanager
    async def job(self, job_id: str) -> AsyncIterator[Feed]:
        """Watch one job. The feed begins with None once nothing more can be missed."""
        feed, channel = Feed(), events.channel(job_id)
        self._feeds[channel].add(feed)
        try:
            if channel in self._subscribed:
                feed.put(None)
            elif len(self._feeds[channel]) == 1:
                await self._tell("subscribe", channel)
            yield feed
        finally:
            self._feeds[channel].discard(feed)
            if not self._feeds[channel]:
                del self._feeds[channel]
                self._subscribed.discard(channel)
                # A watcher that leaves is often being cancelled, and half a command would cost the connection.
                await asyncio.shield(asyncio.ensure_future(self._leave(channel)))

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until `job` is finished or `seconds` are over; gives its latest record.

        Raises:
            StoreUnavailable: Redis went away.

        """
        latest: Job | None = job
        try:
            async with asyncio.timeout(seconds), self.job(job.id) as feed:
                while latest and not latest.finished and not self.stopping:
                    event = await feed.next()
                    if event is None or event.kind is Kind.END:
                        latest = await self._book.run(commands.fetch(job.id))
        except TimeoutError:
            latest = await self._book.run(commands.fetch(job.id))
        return latest or job

    def stop(self) -> None:
        """End all waits now: the process shuts down, and its callers ask another one."""
        self.stopping = True
        self._look_again()

    def _look_again(self) -> None:
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.put(None)

    async def _leave(self, channel: str) -> None:
        if channel not in self._feeds:  # nobody came in the meantime
            await self._tell("unsubscribe", channel)

    async def _tell(self, command: str, channel: str) -> None:
        """Change the subscription; while Redis is away nothing is sent, and all is subscribed anew afterwards."""
        if self._pubsub is None:
            return
        try:
            await getattr(self._pubsub, command)(channel)
        except Exception as error:  # noqa: BLE001 - whatever broke, the listener notices it and begins anew
            log.debug("%s: %s", command, error)

    async def _listen(self) -> None:
        outage = Outage(log, "watching waits for Redis")
        while True:
            lost: Exception = ConnectionError("the subscription ended")
            try:
                await self._follow(outage)
            except Exception as error:  # noqa: BLE001 - whatever broke the subscription, watching goes on
                lost = error
            self._pubsub = None
            self._subscribed.clear()
            await asyncio.sleep(outage.pause(lost))

    async def _follow(self, outage: Outage) -> None:
        async with self._client.pubsub() as pubsub:
            await pubsub.subscribe(Key.WATCH)  # no job's channel: it keeps the subscription alive
            outage.over()
            self._pubsub = pubsub
            if self._feeds:
                await pubsub.subscribe(*self._feeds)
            async for message in pubsub.listen():
                self._hand_out(message)

    def _hand_out(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if message["type"] == "unsubscribe" or channel not in self._feeds:
            return
        event = None
        if message["type"] == "message":
            event = events.parse(message["data"])
        else:
            self._subscribed.add(channel)
        for feed in self._feeds[channel]:
            feed.put(event)


TheSubscriptions = Annotated[Subscriptions, Depends(from_state("subscriptions"))]
