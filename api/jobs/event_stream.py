"""One watcher's way through a job's events: what is kept, then what comes, each once and in order."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from tandem.api.jobs.subscriptions import Feed, Subscriptions
from tandem.api.jobs.view import write
from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.events import Event, Extent, Kind
from tandem.shared.jobs.view import PUSHED
from tandem.shared.runtime.outage import Outage
from tandem.shared.store import commands, events
from tandem.shared.store.executor import AsyncBook

log = logging.getLogger("tandem.api")

PAGE = 500  # events read at once: what a watcher that reads slowly costs in memory


@dataclass(frozen=True)
class Gap:
    """The stream does not keep the events from `first` to `last` any more."""

    first: int
    last: int


class EventStream:
    """Follows one job from the event after `after` to its `end`, whose data is the finished job."""

    def __init__(self, job_id: str, *, after: int, book: AsyncBook, subscriptions: Subscriptions) -> None:
        self._id = job_id
        self._last = after
        self._book = book
        self._subscriptions = subscriptions
        self._behind = False  # the stream is to be read
        self._over = False

    async def items(self) -> AsyncGenerator[Event | Gap]:
        """Give the events until the end, or until the process shuts down or the job is erased."""
        async with self._subscriptions.job(self._id) as feed:
            while not self._over and not self._subscriptions.stopping:
                for item in await (self._kept() if self._behind else self._live(feed)):
                    yield item

    async def _live(self, feed: Feed) -> list[Event | Gap]:
        event = await feed.next()
        if event is None or event.seq > self._last + 1:
            self._behind = True
            return []
        return await self._pass_on(event) if event.seq > self._last else []

    async def _kept(self) -> list[Event | Gap]:
        """Give what the stream keeps after the last event given, a page at a time."""
        answer = await self._ask([events.read(self._id, after=self._last, count=PAGE), events.extent(self._id)])
        if answer is None:
            return []
        page, extent = answer
        self._behind = len(page) == PAGE
        given = [item for event in page for item in await self._pass_on(event)]
        if not self._behind:
            self._over = self._over or self._nothing_follows(extent)
        return given

    def _nothing_follows(self, extent: Extent | None) -> bool:
        """Erased, given to the end already, or Redis has lost events that were given: numbers begin again."""
        return extent is None or extent.seq < self._last or (extent.finished and extent.seq == self._last)

    async def _pass_on(self, event: Event) -> list[Event | Gap]:
        given: list[Event | Gap] = []
        if event.seq > self._last + 1:
            given.append(Gap(self._last + 1, event.seq - 1))
        self._last = event.seq
        if event.kind is not Kind.END:
            given.append(event)
        elif shown := await self._finished():
            self._over = True
            given.append(Event(event.seq, Kind.END, shown))
        else:
            self._behind = True  # whether anything follows is to be asked anew
        return given

    async def _finished(self) -> str | None:
        """Give the finished job as JSON; None if somebody erased it meanwhile, or let it run again: more follows."""
        answer = await self._ask([commands.fetch_bounded(self._id, most=PUSHED)])
        job = answer[0] if answer else None
        return b"".join(write(job)).decode(errors="replace") if job and job.finished else None

    async def _ask(self, calls: list[Any]) -> list[Any] | None:
        """Ask the job book, through outages; None if the process shuts down."""
        outage = Outage(log, "a watcher of %s waits for Redis", self._id, level=logging.DEBUG)
        while not self._subscriptions.stopping:
            try:
                return await self._book.run_all(calls)
            except StoreUnavailable as error:
                await asyncio.sleep(outage.pause(error))
        return None
