"""The asyncio pool's engine: arq's Worker with another way to claim, lease and finish jobs.

arq polls, holds a lease of five minutes and dies with its Redis connection. This subclass claims
due jobs in one script, renews short leases, waits on a bell and outlives outages of Redis.
"""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from signal import Signals
from typing import Any
from uuid import uuid4

from tandem.llm_worker.compat_arq.jobs import CRON_WINDOW, PlainArq
from tandem.llm_worker.engine.attempt import Outcome, attempt
from tandem.llm_worker.engine.memory import resident
from tandem.llm_worker.engine.wakeup import Bell
from tandem.llm_worker.engine.watchdog import Watchdog
from tandem.llm_worker.isolation.attempt import attempt_apart
from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.retry import Fail
from tandem.shared.runtime import sd_notify
from tandem.shared.store import commands, scripts
from tandem.shared.store.commands import Claimed, Lease, Success
from tandem.shared.store.scripts import Call

log = logging.getLogger("tandem.llm_worker")

IDLE_POLL = timedelta(milliseconds=500)  # jobs of plain arq ring no bell, and a bell may get lost
OUTAGE_PAUSE = timedelta(milliseconds=500)
SUSPECTS = 16  # at once, each in a process of its own: a poison job makes suspects of all its neighbours
SHOWN_EVERY = 5  # heartbeats of an idle worker
HAND_BACK = timedelta(seconds=5)  # for the last writes


class LlmWorker(PlainArq):
    """One process of the asyncio pool.

    `ctx` holds `settings` and `catalog`, and once `open` has run `book`, `apart` and `bell` (a client for blocking
    reads).
    """

    ctx: dict[Any, Any]

    async def open(self) -> None:
        """Open what all attempts of this process share."""

    async def close_shared(self) -> None:
        """Close what `open` opened."""

    async def main(self) -> None:
        """Claim and run until told to stop, or in burst mode until nothing is left."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.leases: dict[str, Lease] = {}
        self.asked: Call[Claimed] | None = None  # a claim without an answer yet
        self.news = asyncio.Event()  # a reason to claim again
        self.stopping = self.retiring = self.handing_back = False
        self.ended = 0
        await self.open()
        self.bell = Bell(self.ctx["bell"], self.book, busy=self._is_busy, heard=self.news.set)
        if self.on_startup:
            await self.on_startup(self.ctx)
        watchdog = Watchdog(worker=self.id, leases=self.leases, settings=self.settings, catalog=self.catalog)
        beating = asyncio.create_task(self._keep_beating(), name="heartbeat")
        watchdog.start()
        sd_notify.ready()
        log.info("ready, %d jobs at once", self.max_jobs, extra={"worker": self.id})
        try:
            while not self._ending:
                await self._guarded_round()
            await self._drain()
        finally:
            watchdog.stop()
            beating.cancel()
            self.bell.stop()
            await self._leave()

    @property
    def settings(self) -> Settings:
        settings: Settings = self.ctx["settings"]
        return settings

    @property
    def _free(self) -> int:
        return self.max_jobs - len(self.tasks)

    @property
    def _ending(self) -> bool:
        return self.stopping or self.retiring

    def _is_busy(self) -> bool:
        return self._free <= 0 or self._ending

    async def _guarded_round(self) -> None:
        """Do a round; an outage of Redis, or a fault of ours, costs a pause and not the worker."""
        try:
            await self._round()
        except StoreUnavailable as error:
            log.warning("no jobs for now: %s", error)
        except Exception:
            log.exception("a round broke")
        else:
            return
        await asyncio.sleep(OUTAGE_PAUSE.total_seconds())

    async def _round(self) -> None:
        """Claim what fits; if nothing more is due, wait for a reason to look again."""
        self.news.clear()
        if (free := self._free) <= 0:
            await self.news.wait()
            return
        claimed = await self._claim(free)
        for lease in claimed.leases:
            self._start(lease)
        if claimed.unknown:
            await self.take_in(claimed.unknown)
        elif len(claimed.leases) < free:
            await self._nothing_more(claimed)

    async def _claim(self, free: int) -> Claimed:
        """Claim; what got no answer is asked again as it was."""
        if self.asked is None:
            suspects = SUSPECTS - sum(lease.suspect for lease in self.leases.values())
            self.asked = commands.claim_llm(worker=self.id, limit=free, ttl=self.settings.job_ttl, suspects=suspects)
        claimed = await self.book.run(self.asked)
        self.asked = None
        return claimed

    async def _nothing_more(self, claimed: Claimed) -> None:
        if self.burst and not self.tasks:
            self.retiring = True
            return
        timeout = IDLE_POLL
        if claimed.next_due is not None:
            timeout = min(timeout, max(claimed.next_due, timedelta(milliseconds=1)))
        self.bell.listen()
        timer = asyncio.get_running_loop().call_later(timeout.total_seconds(), self.news.set)
        await self.news.wait()
        timer.cancel()

    def _start(self, lease: Lease) -> None:
        if earlier := self.tasks.get(lease.id):
            earlier.cancel()  # its lease ran out while we could not renew it, and we got the next one
        self.leases[lease.id] = lease
        run = attempt_apart if lease.suspect else attempt
        task = asyncio.create_task(run(self.ctx, lease), name=f"{lease.task} {lease.id}")
        self.tasks[lease.id] = task
        task.add_done_callback(partial(self._ended, lease))

    def _ended(self, lease: Lease, task: asyncio.Task[Outcome | None]) -> None:
        if self.tasks.get(lease.id) is task:
            del self.tasks[lease.id]
            del self.leases[lease.id]
        if task.cancelled():
            log.warning("%s %s was cancelled before it began", lease.task, lease.id)
        elif error := task.exception():
            # An attempt writes its own outcome; what escapes it is a fault of ours. The lease runs out.
            log.error("%s %s broke: %r", lease.task, lease.id, error)
        else:
            self._count(task.result())
        if lease.suspect:
            self.news.set()  # the next one
        self.freed()

    def _count(self, outcome: Outcome | None) -> None:
        """Keep arq's counters, which its health key shows."""
        if isinstance(outcome, Success):
            self.jobs_complete += 1
        elif isinstance(outcome, Fail):
            self.jobs_failed += 1
        else:
            self.jobs_retried += 1

    def freed(self) -> None:
        """Look again if that was what there was to wait for; retire after so many jobs."""
        self.ended += 1
        if self.settings.llm_max_jobs and self.ended >= self.settings.llm_max_jobs:
            self._retire(f"{self.ended} jobs")
        if self._free == 1 or self.burst or self._ending:
            self.news.set()

    def _retire(self, why: str) -> None:
        if not self.retiring:
            log.info("retiring after %s", why)
        self.retiring = True
        self.news.set()

    async def _keep_beating(self) -> None:
        beat = 0
        while True:
            try:
                await self._beat(beat)
            except Exception as error:  # noqa: BLE001 - without renewals every job would be lost
                log.warning("leases not renewed: %s", error)
            beat += 1
            await asyncio.sleep(scripts.RENEW_EVERY.total_seconds())

    async def _beat(self, beat: int) -> None:
        """Prolong the leases of all running jobs; stop those whose lease was lost, or who were cancelled."""
        aborts = asyncio.ensure_future(self.book.run(commands.heed_aborts(ttl=self.settings.job_ttl)))
        lost: list[str] = []
        if self.leases or beat % SHOWN_EVERY == 0:
            lost = await self.book.run(commands.renew("llm", list(self.leases.values()), worker=self.id))
        await aborts
        for job_id in lost:
            if task := self.tasks.get(job_id):
                log.warning("%s is not ours any more: cancelled, or its lease was lost", job_id)
                task.cancel()
        await self.renew_plain()
        await self.record_health()
        if self.cron_jobs and not self._ending:
            await self.run_cron(datetime.now(tz=self.timezone), CRON_WINDOW)
        most = self.settings.llm_max_memory
        if most and (held := resident()) > most:
            self._retire(f"{held // 1_000_000} MB")

    def run(self) -> None:
        """Run to the end. What a job's own task raises beyond exceptions (`sys.exit()`) does not end the loop."""
        self.main_task = self.loop.create_task(self.main())
        try:
            while not self.main_task.done():
                with suppress(SystemExit, KeyboardInterrupt):
                    self.loop.run_until_complete(self.main_task)
        finally:
            self.loop.run_until_complete(self.close())

    def handle_sig(self, signum: Signals) -> None:
        """Stop claiming; `main` drains and ends."""
        log.info("%s: draining %d jobs", Signals(signum).name, len(self.tasks))
        self.stopping = True
        self.news.set()
        if self.on_stop:
            self.on_stop(signum)

    async def _drain(self) -> None:
        """Let running jobs end within the grace time, then hand the rest back without burning an attempt.

        A worker that retires by itself has all the time that its jobs need.
        """
        while self.tasks and not self.stopping:
            self.news.clear()
            await self.news.wait()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=self.settings.grace.total_seconds())
        self.handing_back = True
        rest = list(self.tasks.values())
        for task in rest:
            task.cancel()
        if rest:
            log.info("handing back %d jobs", len(rest))
            await asyncio.wait(rest, timeout=HAND_BACK.total_seconds())

    async def _leave(self) -> None:
        """Forget this worker; with the last one goes what `arq --check` looks at."""
        with suppress(StoreUnavailable):
            await self.book.run(commands.leave(self.id, "llm", health=self.health_check_key))

    async def close(self) -> None:
        """Close the connections, when all has ended."""
        if self.main_task and not self.main_task.done():
            self.stopping = True
            self.news.set()
            await asyncio.wait([self.main_task])
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self.close_shared()
