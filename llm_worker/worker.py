"""The asyncio pool's engine: arq's Worker with another way to claim, lease and finish jobs.

arq polls, holds a lease of five minutes and dies with its Redis connection. This subclass claims
due jobs in one script, renews short leases, waits on a bell and outlives outages of Redis.
"""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from datetime import timedelta
from signal import Signals
from typing import Any
from uuid import uuid4

from arq.worker import Worker

from shared import notify, scripts, store
from shared.book import AsyncBook
from shared.errors import StoreUnavailable
from shared.scripts import Call
from shared.settings import Settings
from shared.store import Claimed, Lease

log = logging.getLogger("tandem.llm_worker")

IDLE_POLL = timedelta(seconds=1)  # a bell that got lost costs this much
OUTAGE_PAUSE = timedelta(milliseconds=500)


class LlmWorker(Worker):
    """One process of the asyncio pool.

    `ctx` holds what `on_startup` put there: `settings`, `book`, `bell` (a client for blocking
    reads) and `attempt`, the coroutine function that runs one lease to its end.
    """

    ctx: dict[Any, Any]

    async def main(self) -> None:
        """Claim and run until told to stop, or in burst mode until nothing is left."""
        if self.on_startup:
            await self.on_startup(self.ctx)
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.leases: dict[str, Lease] = {}
        self.stopping = asyncio.Event()
        renewing = asyncio.create_task(self._keep_renewing())
        notify.ready()
        log.info("ready, %d jobs at once", self.max_jobs, extra={"worker": self.id})
        try:
            while not self.stopping.is_set():
                if not await self._round() and self._burst_done:
                    break
            await self._drain()
        finally:
            renewing.cancel()
            await self._leave()

    @property
    def book(self) -> AsyncBook:
        book: AsyncBook = self.ctx["book"]
        return book

    @property
    def settings(self) -> Settings:
        settings: Settings = self.ctx["settings"]
        return settings

    @property
    def _burst_done(self) -> bool:
        return self.burst and not self.tasks

    def _claim(self, free: int) -> Call[Claimed]:
        return store.claim_llm(worker=self.id, limit=free, ttl=self.settings.job_ttl)

    async def _leave(self) -> None:
        with suppress(StoreUnavailable):
            await self.book.run(store.leave(self.id, "llm"))

    async def _round(self) -> bool:
        """Claim what fits; if nothing more is due, wait for a reason to look again. True if something came."""
        free = self.max_jobs - len(self.tasks)
        if free <= 0:
            await self._until_any(list(self.tasks.values()))
            return True
        try:
            claimed = await self.book.run(self._claim(free))
        except StoreUnavailable as error:
            log.warning("no jobs for now: %s", error)
            await self._until_any([], timeout=OUTAGE_PAUSE)
            return True
        for lease in claimed.leases:
            self._start(lease)
        if claimed.unknown:
            log.warning("not in the job book: %s", ", ".join(entry.id for entry in claimed.unknown))
        if len(claimed.leases) < free and not self._burst_done:
            await self._wait(claimed)
        return bool(claimed.leases)

    def _start(self, lease: Lease) -> None:
        if earlier := self.tasks.get(lease.id):
            earlier.cancel()  # its lease ran out while we could not renew it, and we got the next one
        self.leases[lease.id] = lease
        task = asyncio.create_task(self.ctx["attempt"](self.ctx, lease), name=f"{lease.task} {lease.id}")
        self.tasks[lease.id] = task
        task.add_done_callback(lambda done: self._ended(lease, done))

    def _ended(self, lease: Lease, task: asyncio.Task[Any]) -> None:
        if self.tasks.get(lease.id) is task:
            del self.tasks[lease.id]
            del self.leases[lease.id]
        if not task.cancelled() and (error := task.exception()):
            # An attempt writes its own outcome; what escapes it is a fault of ours. The lease runs out.
            log.error("%s %s broke: %r", lease.task, lease.id, error)

    async def _wait(self, claimed: Claimed) -> None:
        """Wait for the bell, the next due job, the poll or the order to stop."""
        timeout = IDLE_POLL
        if claimed.next_due is not None:
            timeout = min(timeout, max(claimed.next_due, timedelta(milliseconds=1)))
        bell = asyncio.ensure_future(self._listen(timeout))
        # The server ends the wait; a cancelled read would cost the connection.
        await self._until_any([bell, *self.tasks.values()] if self.burst else [bell], timeout=timeout + IDLE_POLL)
        bell.cancel()

    async def _listen(self, timeout: timedelta) -> None:  # noqa: ASYNC109 - the server keeps the time
        try:
            await self.ctx["bell"].blpop([scripts.BELL + "llm"], timeout=timeout.total_seconds())
        except Exception as error:  # noqa: BLE001 - whatever it is, the claim that follows will say it
            log.debug("the bell is out of order: %s", error)

    async def _until_any(self, things: list[asyncio.Future[Any]], *, timeout: timedelta | None = None) -> None:  # noqa: ASYNC109
        """Wait for one of `things` or the order to stop."""
        stop = asyncio.create_task(self.stopping.wait())
        seconds = timeout.total_seconds() if timeout else None
        await asyncio.wait([stop, *things], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()

    async def _keep_renewing(self) -> None:
        """Prolong the leases of all running jobs; stop those whose lease was lost, or who were cancelled."""
        while True:
            try:
                lost = await self.book.run(store.renew("llm", list(self.leases.values()), worker=self.id))
                await self.book.run(store.heed_aborts(ttl=self.settings.job_ttl))
            except Exception as error:  # noqa: BLE001 - without renewals every job would be lost
                log.warning("leases not renewed: %s", error)
                lost = []
            for job_id in lost:
                if task := self.tasks.get(job_id):
                    log.warning("%s is not ours any more: cancelled, or its lease was lost", job_id)
                    task.cancel()
            await asyncio.sleep(scripts.RENEW_EVERY.total_seconds())

    def handle_sig(self, signum: Signals) -> None:
        """Stop claiming; `main` drains and ends."""
        log.info("%s: draining %d jobs", Signals(signum).name, len(self.tasks))
        self.stopping.set()

    async def _drain(self) -> None:
        """Let running jobs end within the grace time, then hand the rest back without burning an attempt."""
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=self.settings.grace.total_seconds())
        rest = list(self.tasks.items())
        for _, task in rest:
            task.cancel()
        if rest:
            log.info("handing back %d jobs", len(rest))
            await asyncio.wait([task for _, task in rest], timeout=5)

    async def close(self) -> None:
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
