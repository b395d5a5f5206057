"""Notices a handler that blocks the event loop: names it, keeps everybody's lease, and gives it up in the end."""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tandem.llm_worker.engine.renewals import renewals
from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable, TransientError
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Decision, HandBack, decide
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, client
from tandem.shared.store import leases, queues, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.registry import Catalog

log = logging.getLogger("tandem.llm_worker")

TICK = 0.5  # seconds
NOTICE = 1.0  # seconds without a turn of the loop
FRAMES = 12  # of the stack that is shown
# Code that never lets go of the interpreter stops this thread too: then C code ends the process.
LAST_RESORT = 30.0  # seconds beyond the limit
LAST_WORDS = 5.0  # seconds to write what becomes of the jobs


class Watchdog:
    """Watches one loop from a thread of its own; `leases` are those that the worker holds, by job id."""

    def __init__(self, *, worker: str, leases: Mapping[str, Lease], settings: Settings, catalog: Catalog) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_ident()
        self._worker, self._leases = worker, leases
        self._settings, self._catalog = settings, catalog
        self._book = Book(client(settings.redis, timeout=LEASE_TIMEOUT, retries=0))
        self._limit = settings.llm_max_block.total_seconds()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; tasks that a job starts bear its name from now on."""
        self._loop.set_task_factory(inherit_name)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        armed = 0.0
        while not self._stopped.is_set():
            if time.monotonic() - armed > LAST_RESORT / 4:
                armed = time.monotonic()
                faulthandler.dump_traceback_later(self._limit + LAST_RESORT, exit=True)
            turned = threading.Event()
            try:
                self._loop.call_soon_threadsafe(turned.set)
            except RuntimeError:  # closed
                return
            # Ticks are counted, not time: a process that was suspended has blocked nobody.
            blocked = 0.0
            while not turned.wait(TICK) and not self._stopped.is_set():
                blocked += TICK
                self._is_blocked(blocked)
            self._stopped.wait(TICK)

    def _is_blocked(self, seconds: float) -> None:
        if seconds < NOTICE:
            return
        name = self._culprit()
        if seconds == NOTICE:
            log.warning("%s blocks the event loop, all jobs wait for it:\n%s", name or "something", self._stack())
        held = list(self._leases.values())
        try:
            for call in renewals(held, worker=self._worker):
                self._book.run(call)
        except StoreUnavailable as error:
            log.warning("leases not renewed: %s", error)
        if seconds >= self._limit:
            self._give_up(name, held)

    def _culprit(self) -> str:
        task = asyncio.current_task(self._loop)
        return task.get_name() if task else ""

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._main)  # noqa: SLF001 - the documented way
        return "".join(traceback.format_stack(frame)[-FRAMES:]).rstrip() if frame else ""

    def _give_up(self, name: str, leases: Sequence[Lease]) -> None:
        """Write the culprit's failure, hand the others back, end the process: its supervisor starts a new one."""
        log.error("%s has blocked the event loop for %g s; this worker ends", name or "something", self._limit)
        calls = [self._outcome(lease, guilty=lease.id == name.rpartition(" ")[2]) for lease in leases]
        deadline = time.monotonic() + LAST_WORDS
        try:
            for call in calls:
                self._book.insist(call, unless=lambda: time.monotonic() > deadline)
            self._book.run(queues.leave(self._worker, "llm"))
        except StoreUnavailable as error:
            log.warning("the jobs start elsewhere when their leases are over: %s", error)
        logging.shutdown()
        os._exit(1)

    def _outcome(self, lease: Lease, *, guilty: bool) -> scripts.Call[bool]:
        decision: Decision = HandBack(timedelta(0))
        if guilty:
            message = f"it blocked the event loop, and with it all other jobs, for {self._limit:g} s"
            error = TransientError(message, type="blocked_loop")
            decision = decide(error, self._catalog[lease.task].retry, attempt=lease.attempt, jitter=0.5)
        return leases.give_up(lease, decision, usage=Usage(), ttl=self._settings.job_ttl)


def inherit_name(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task that bears the name of the one that made it, so that a job is known by whatever it starts.

    `options` are those of `asyncio.Task`: what is handed on differs by version, since 3.13.3 also name and eager_start.
    """
    parent = asyncio.current_task(loop)
    name = options.pop("name", None) or (parent.get_name() if parent else None)
    return asyncio.Task(coro, loop=loop, name=name, **options)
