"""The asyncio pool's engine: arq's Worker with another way to claim, lease and finish jobs.

arq polls, holds a lease of five minutes and dies with its Redis connection. This subclass claims
due jobs in one script, renews short leases, waits to be woken and outlives outages of Redis.
"""

import asyncio
import logging
import os
import socket
import time
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from signal import Signals
from typing import Any
from uuid import uuid4

from tandem.llm_worker.compat_arq.jobs import CRON_WINDOW, PlainArq
from tandem.llm_worker.engine import loop_errors
from tandem.llm_worker.engine.announcement import Announcement
from tandem.llm_worker.engine.attempt import Outcome, attempt
from tandem.llm_worker.engine.heartbeat import Heartbeat
from tandem.llm_worker.engine.memory import resident
from tandem.llm_worker.engine.tenure import Tenure, TenureHold
from tandem.llm_worker.engine.wakeup import Wakeup
from tandem.llm_worker.engine.watchdog import Watchdog
from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.errors import trace
from tandem.shared.limits.numbers import IDLE_SHARE
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.outage import Outage
from tandem.shared.store import leases, queues
from tandem.shared.store.leases import Claim, Claimed, Lease

log = logging.getLogger("tandem.llm_worker")

IDLE_POLL = timedelta(milliseconds=500)  # jobs of plain arq wake nobody, and a wake-up may get lost
AFTER_FAULT = timedelta(milliseconds=500)  # of ours: it may come again at once
MOST_A_CLAIM = 25  # jobs in one script: it must stay short
SUSPECTS = 32  # at once, each in a process of its own: a poison job makes suspects of all its neighbours
HAND_BACK, LEAVE_WITHIN = timedelta(seconds=5), timedelta(seconds=1)  # for the last writes, and for taking leave


class LlmWorker(PlainArq):
    """One process. `ctx` is arq's: what its functions and cron jobs get. Attempts get `runtime`, after `open`."""

    ctx: dict[Any, Any]
    wakeups: Any  # a client for blocking reads

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._opened = AsyncExitStack()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open `runtime`, `wakeups` and arq's pool, to be closed with `stack`."""
        raise NotImplementedError

    async def attempt_isolated(self, lease: Lease) -> None:
        """Run a suspect in a process of its own."""
        raise NotImplementedError

    async def main(self) -> None:
        """Claim and run until told to stop, or in burst mode until nothing is left."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.leases: dict[str, Lease] = {}
        self.tenure = Tenure(self.leases)
        self.unanswered: Claim | None = None  # the last claim
        self.news = asyncio.Event()  # a reason to claim again
        self.told = asyncio.Event()  # to stop
        self.stopping = self.retiring = self.handing_back = False
        self.ended, self.outage = 0, Outage(log, "no jobs for now")
        await self.open(self._opened)
        scopes, self.models = self.runtime.scopes, self.runtime.scopes.table()
        self.announcement = Announcement(self.book, worker=self.id, scopes=scopes)
        self.wakeup = Wakeup(self.wakeups, self.book, busy=self._is_busy, heard=self.news.set)
        if self.on_startup:
            await self.on_startup(self.ctx)
        watchdog = Watchdog(worker=self.id, leases=self.leases, settings=self.settings, catalog=self.catalog)
        heartbeat = Heartbeat(
            self.runtime.leases,
            worker=self.id,
            ttl=self.settings.job_ttl,
            leases=self.leases,
            tenure=self.tenure,
            lost=self._lost,
            besides=self._beat,
        )
        loop_errors.log_them(asyncio.get_running_loop())
        heartbeat.start()
        watchdog.start()
        sd_notify.ready()
        log.info("ready, %d jobs at once", self.max_jobs, extra={"worker": self.id})
        told = asyncio.create_task(self.told.wait())
        try:
            taking = asyncio.create_task(self._take(), name="take")
            await asyncio.wait([taking, told], return_when=asyncio.FIRST_COMPLETED)
            await self._drain(taking)
        finally:
            told.cancel()
            watchdog.stop()
            heartbeat.stop()
            self.wakeup.stop()
            await self._leave()

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    @property
    def _free(self) -> int:
        return self.max_jobs - len(self.tasks)

    @property
    def _ending(self) -> bool:
        return self.stopping or self.retiring

    def _is_busy(self) -> bool:
        return self._free <= 0 or self._ending

    async def _take(self) -> None:
        """Claim and start jobs until it is time to end; gives back what a last claim took whose answer never came."""
        while not self._ending:
            await self._guarded_round()
        if self.unanswered:
            await self.book.insist(leases.disclaim("llm", self.unanswered, worker=self.id))

    async def _guarded_round(self) -> None:
        """Do a round; an outage of Redis, or a fault of ours, costs a pause and not the worker."""
        try:
            await self._round()
        except StoreUnavailable as error:
            await asyncio.sleep(self.outage.pause(error))
        except Exception:
            log.exception("a round broke")
            await asyncio.sleep(AFTER_FAULT.total_seconds())
        else:
            self.outage.over()

    async def _round(self) -> None:
        """Claim what fits; if nothing more is due, wait for a reason to look again."""
        self.news.clear()
        if (free := min(self._free, MOST_A_CLAIM)) <= 0:
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
        if self.unanswered is None:
            suspects = SUSPECTS - sum(lease.suspect for lease in self.leases.values())
            idle = max(1, int(self.max_jobs * IDLE_SHARE)) - len(self.tasks)
            self.asked = time.monotonic()
            self.unanswered = leases.claim_llm(
                worker=self.id, limit=free, ttl=self.settings.job_ttl, suspects=suspects, idle=idle, models=self.models
            )
        claimed = await self.book.run(self.unanswered)
        self.unanswered = None
        self.tenure.hear(claimed.leases, asked=self.asked)
        return claimed

    async def _nothing_more(self, claimed: Claimed) -> None:
        if self.burst and not self.tasks:
            self.retiring = True
            return
        timeout = IDLE_POLL
        if claimed.next_due is not None:
            timeout = min(timeout, max(claimed.next_due, timedelta(milliseconds=1)))
        self.wakeup.listen()
        timer = asyncio.get_running_loop().call_later(timeout.total_seconds(), self.news.set)
        await self.news.wait()
        timer.cancel()

    def _start(self, lease: Lease) -> None:
        if earlier := self.tasks.get(lease.id):
            earlier.cancel()  # its lease ran out while we could not renew it, and we got the next one
        self.leases[lease.id] = lease
        isolated = lease.suspect and lease.task in self.catalog  # what is not known here does not run here
        hold = TenureHold(self.tenure, lease)
        run = self.attempt_isolated(lease) if isolated else attempt(self.runtime, lease, hold)
        task: asyncio.Task[Outcome | None] = asyncio.create_task(run, name=f"{lease.task} {lease.id}")
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
            log.error("%s %s broke:\n%s", lease.task, lease.id, trace(error))
        else:
            self.count(task.result())
        if lease.suspect:
            self.news.set()  # the next one
        self.freed()

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

    def _lost(self, job_id: str) -> None:
        if task := self.tasks.get(job_id):
            log.info("%s is not ours any more, its work is stopped", job_id)  # its attempt says if that is a fault
            task.cancel()

    async def _beat(self) -> None:
        """Do what arq does now and then, and look how much memory this process holds."""
        await self.renew_plain()
        await self.announcement.tell()
        if self.cron_jobs and not self._ending:
            await self.run_cron(datetime.now(tz=self.timezone), CRON_WINDOW)
        if (most := self.settings.llm_max_memory) and (held := resident()) > most:
            self._retire(f"{held // 1_000_000} MB")
        await self.record_health()  # the last, as a Redis whose memory is full takes none

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
        self.told.set()
        self.news.set()
        if self.on_stop:
            self.on_stop(signum)

    async def _drain(self, taking: asyncio.Task[None]) -> None:
        """Let running jobs end within the grace time, then hand the rest back without burning an attempt.

        A worker that retires by itself has all the time that its jobs need.
        """
        while self.tasks and not self.stopping:
            self.news.clear()
            await self.news.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.grace.total_seconds()):
                while pending := [task for task in (taking, *self.tasks.values()) if not task.done()]:
                    await asyncio.wait(pending)
        self.handing_back = True
        held = set(self.tasks.values())
        await self._hand_back(held, taking)
        if not taking.done():
            log.warning("a claim got no answer; what it took comes back when its lease is over")
            taking.cancel()
        await self._hand_back(set(self.tasks.values()) - held)  # what a last claim has brought

    async def _hand_back(self, held: set[asyncio.Task[Any]], *besides: asyncio.Task[None]) -> None:
        if held:
            log.info("handing back %d jobs", len(held))
        for task in held:
            task.cancel()
        if ending := [*held, *besides]:
            await asyncio.wait(ending, timeout=HAND_BACK.total_seconds())

    async def _leave(self) -> None:
        """Forget this worker; with the last one goes what `arq --check` looks at."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN.total_seconds()):
                await self.book.run(queues.leave(self.id, "llm", health=self.health_check_key))

    async def close(self) -> None:
        """Close the connections, when all has ended."""
        if self.main_task and not self.main_task.done():
            self.stopping = True
            self.news.set()
            await asyncio.wait([self.main_task])
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self._opened.aclose()
