"""What happens to jobs right now, over one Redis connection however many callers watch."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, NoReturn, Self

from fastapi import Depends

from tandem.api.dependencies import from_state
from tandem.api.jobs import outgoing
from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Job
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store import events
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key

log = logging.getLogger("tandem.api")

BACKLOG = 256  # events that a slow watcher may leave unread before it is told to read the stream again
SILENCE = 5.0  # seconds without a word after which Redis is asked whether it is there, and then given up


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
    """Hands each watched job's events to those who watch it.

    Only the listener reads from the connection, and nobody connects it anew: redis-py's `PubSub` does so for whoever
    subscribes next, and reads there while the listener reads too. What broke is dropped whole, and all begins again.
    """

    def __init__(self, client: AsyncClient, book: AsyncBook) -> None:
        self._client = client
        self._book = book
        self._feeds: defaultdict[str, set[Feed]] = defaultdict(set)
        self._subscribed: set[str] = set()  # channels that Redis has confirmed
        self._connection: Any = None
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
                await self._tell("SUBSCRIBE", channel)
            yield feed
        finally:
            self._feeds[channel].discard(feed)
            if not self._feeds[channel]:
                del self._feeds[channel]
                self._subscribed.discard(channel)
                # A watcher that leaves is often being cancelled, and half a command would cost the connection.
                await asyncio.shield(asyncio.ensure_future(self._leave(channel)))

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until `job` is finished or `seconds` are over; gives its latest record, as `outgoing.read` does.

        Raises:
            StoreUnavailable: Redis went away.

        """
        latest: Job | None = job
        try:
            async with asyncio.timeout(seconds), self.job(job.id) as feed:
                while latest and not latest.finished and not self.stopping:
                    event = await feed.next()
                    if event is None or event.kind is Kind.END:
                        latest = await self._book.run(outgoing.read(job.id))
        except TimeoutError:
            latest = await self._book.run(outgoing.read(job.id))
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
            await self._tell("UNSUBSCRIBE", channel)

    async def _tell(self, command: str, channel: str) -> None:
        """Change the subscription; while Redis is away nothing is sent, and all is subscribed anew afterwards."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            return
        try:
            await connection.send_command(command, channel, check_health=False)
        except Exception as error:  # noqa: BLE001 - whatever broke, the listener notices it and begins anew
            log.debug("%s: %s", command, error)

    async def _listen(self) -> None:
        outage = Outage(log, "watching waits for Redis")
        while True:
            try:
                await self._follow(outage)
            except Exception as error:  # noqa: BLE001 - whatever broke the subscription, watching goes on
                await asyncio.sleep(outage.pause(error))

    async def _follow(self, outage: Outage) -> NoReturn:
        """Follow all that is watched, over one connection, until it breaks or falls silent."""
        pool = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_command("SUBSCRIBE", Key.WATCH, check_health=False)  # no job's channel
            self._connection = connection  # from here on who comes subscribes by itself
            if self._feeds:
                await connection.send_command("SUBSCRIBE", *self._feeds, check_health=False)
            while True:
                kind, channel, data = await _answer(connection)
                outage.over()
                self._hand_out(kind, channel.decode(), data)
        finally:
            self._connection = None
            self._subscribed.clear()
            await connection.disconnect()
            await pool.release(connection)

    def _hand_out(self, kind: bytes, channel: str, data: Any) -> None:
        if channel not in self._feeds or kind not in {b"message", b"subscribe"}:
            return
        told: Sequence[Event | None] = [None]
        if kind == b"message":
            told = events.parse(data)
        else:
            self._subscribed.add(channel)
        for feed in self._feeds[channel]:
            for event in told:
                feed.put(event)


async def _answer(connection: Any) -> Any:
    """Give what Redis says next. Raises ConnectionError: it says nothing, not even when it is asked."""
    if (said := await connection.read_response(timeout=SILENCE)) is not None:
        return [*said, None][:3]  # a pong has no third part
    await connection.send_command("PING", check_health=False)
    if (said := await connection.read_response(timeout=SILENCE)) is None:
        raise ConnectionError("the subscription fell silent")
    return [*said, None][:3]


TheSubscriptions = Annotated[Subscriptions, Depends(from_state("subscriptions"))]
