"""Waiting for jobs to finish: one Redis subscription per process, however many callers wait."""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from typing import Self

from shared import store
from shared.book import AsyncBook
from shared.job import Job
from shared.redis import AsyncClient

log = logging.getLogger("tandem.api")

RECONNECT = 0.5  # seconds


class Finishes:
    """Tells waiting requests that their job has reached a final status."""

    def __init__(self, client: AsyncClient, book: AsyncBook) -> None:
        self._client = client
        self._book = book
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen(), name="finished jobs")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until `job` is finished or `seconds` are over; gives its latest record.

        Raises:
            StoreUnavailable: Redis went away.

        """
        latest: Job | None = job
        event = asyncio.Event()
        self._waiting[job.id].add(event)
        try:
            async with asyncio.timeout(seconds):
                await self._listening.wait()
                # It may have finished before we listened; from here on nothing is missed.
                while (latest := await self._book.run(store.fetch(job.id))) and not latest.finished:
                    if self._stopping:
                        break
                    await event.wait()
                    event.clear()
        except TimeoutError:
            latest = await self._book.run(store.fetch(job.id))
        finally:
            self._waiting[job.id].discard(event)
            if not self._waiting[job.id]:
                del self._waiting[job.id]
        return latest or job

    def stop(self) -> None:
        """End all waits now: the process shuts down, and its callers ask another one."""
        self._stopping = True
        self._wake(list(self._waiting))

    async def _listen(self) -> None:
        while True:
            try:
                await self._subscribe()
            except Exception as error:  # noqa: BLE001 - whatever broke the subscription, waiting goes on
                log.warning("waiting for Redis: %s", error)
            self._listening.clear()
            await asyncio.sleep(RECONNECT)

    async def _subscribe(self) -> None:
        async with self._client.pubsub() as pubsub:
            await pubsub.subscribe(store.FINISHED)
            async for message in pubsub.listen():
                if message["type"] == "subscribe":
                    # After a gap everybody looks once: their job's message may have been in it.
                    self._listening.set()
                    self._wake(list(self._waiting))
                elif message["type"] == "message":
                    self._wake([message["data"].decode()])

    def _wake(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            for event in self._waiting.get(job_id, ()):
                event.set()
