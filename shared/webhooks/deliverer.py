"""Delivers webhooks, with a concurrency of their own: in the clock's process, and beside the jobs of LLM workers."""

import asyncio
import logging
from datetime import timedelta
from typing import Any, Self

import aiohttp

from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable, UnreadableRecord
from tandem.shared.jobs.errors import trace
from tandem.shared.jobs.view import PUSHED
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store import commands, deliveries
from tandem.shared.store.deliveries import Delivery, Outcome, Verdict
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import WEBHOOKS
from tandem.shared.webhooks import request

log = logging.getLogger("tandem.webhooks")

AT_ONCE = 50  # slow receivers hold a place each, and none of the jobs'
LEASE = request.TIMEOUT * 2
IDLE_POLL = timedelta(seconds=5)  # a wakeup that got lost costs this much
AFTER_FAULT = 0.5  # seconds; of ours: it may come again at once


class Deliverer:
    """Claims due deliveries and tries them until it is told to stop."""

    def __init__(self, settings: Settings, *, book: AsyncBook, wakeup: AsyncClient) -> None:
        self._secret = settings.webhook_key
        self._allow_private = settings.allow_private_webhooks
        self._grace = settings.grace
        self._book = book
        self._wakeup: Any = wakeup
        self._running: set[asyncio.Task[None]] = set()
        self._outage = Outage(log, "no deliveries for now")
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client: aiohttp.ClientSession = request.session(allow_private=self._allow_private)
        self._loop = asyncio.create_task(self._work(), name="webhooks")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the tries under way end; those that can't are made again when their lease is over."""
        if self._loop:
            self._loop.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=min(self._grace, request.TIMEOUT).total_seconds())
        for task in self._running:
            task.cancel()
        await self._client.close()

    async def _work(self) -> None:
        while True:
            try:
                await self._round()
            except StoreUnavailable as error:
                await asyncio.sleep(self._outage.pause(error))
            except Exception:
                log.exception("a round of deliveries broke")
                await asyncio.sleep(AFTER_FAULT)
            else:
                self._outage.over()

    async def _round(self) -> None:
        if len(self._running) >= AT_ONCE:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        free = AT_ONCE - len(self._running)
        due = await self._book.run(deliveries.claim(limit=free, lease=LEASE, places=AT_ONCE))
        for delivery in due.deliveries:
            task = asyncio.create_task(self._deliver(delivery), name=f"webhook {delivery.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if len(due.deliveries) < free:
            wait = IDLE_POLL if due.next_due is None else min(IDLE_POLL, due.next_due)
            await self._listen(max(wait, timedelta(milliseconds=10)))

    async def _listen(self, wait: timedelta) -> None:
        try:
            await self._wakeup.blpop([Key.WAKEUP + WEBHOOKS], timeout=wait.total_seconds())
        except Exception as error:  # noqa: BLE001 - whatever it is, the claim that follows will say it
            log.debug("nobody can be woken: %s", error)
            await asyncio.sleep(AFTER_FAULT)

    async def _deliver(self, delivery: Delivery) -> None:
        content = delivery.body or await self._render(delivery)
        verdict = await self._try(delivery, content)
        level = logging.INFO if verdict.outcome is Outcome.DELIVERED else logging.WARNING
        said = (delivery.id, verdict.outcome, delivery.attempt, verdict.error or "taken")
        log.log(level, "%s %s, try %d: %s", *said, extra={"job": delivery.job})
        await self._book.insist(deliveries.settle(delivery, verdict, body=content or ""))

    async def _try(self, delivery: Delivery, content: str | None) -> Verdict:
        if not content:
            return Verdict(Outcome.FAILED, error="the job was erased, runs again or can't be read")
        if not self._secret:
            return Verdict(Outcome.FAILED, error="TANDEM_WEBHOOK_SECRET is unset")
        try:
            return await request.post(
                self._client, delivery, content, secret=self._secret, allow_private=self._allow_private
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it counts as a try, and tries come to an end
            log.error("a try broke:\n%s", trace(error))  # noqa: TRY400 - without the exception's words
            return request.again(delivery, None, type(error).__name__)

    async def _render(self, delivery: Delivery) -> str | None:
        """Write the body from the record; None if that has moved on, or can't be read."""
        try:
            job = await self._book.run(commands.fetch_bounded(delivery.job, most=PUSHED))
        except UnreadableRecord:
            return None
        if job is None or delivery.event != f"job.{job.status}":
            return None
        return request.body(delivery, job)
