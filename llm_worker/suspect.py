"""Runs a suspect: a job that was there twice when a worker died gets a process of its own, and only that can die."""

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta
from typing import Any

from llm_worker import quarantine
from shared import store
from shared.attempt import Decision, HandBack, decide
from shared.book import AsyncBook
from shared.catalog import Catalog
from shared.errors import AttemptTimeout
from shared.job import Usage
from shared.settings import Settings
from shared.store import Lease

log = logging.getLogger("tandem.llm_worker")

START = timedelta(seconds=30)  # for the process, before and after the attempt's own time
WRITE = timedelta(seconds=5)  # for the outcome, once Redis answers
FAREWELL = timedelta(seconds=1)  # to close its connections, when it is told to stop
PAUSE = timedelta(seconds=1)  # before the next attempt


async def attempt_apart(worker: dict[str, Any], lease: Lease) -> None:
    """Run `lease` in a process of its own, which writes the outcome; if it dies instead, that is a crash."""
    settings: Settings = worker["settings"]
    book: AsyncBook = worker["book"]
    log.info("runs in a process of its own", extra={"job": lease.id, "task": lease.task})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", quarantine.__name__, str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    decision: Decision | None = None
    try:
        decision = await _watch(process, lease, book=book, catalog=worker["catalog"])
    except asyncio.CancelledError:
        decision = HandBack(timedelta(0))
    finally:
        await _end(process)
    if process.returncode == quarantine.NOT_STARTED:
        decision = HandBack(PAUSE)
    if decision:
        await book.insist(store.give_up(lease, decision, usage=Usage(), ttl=settings.job_ttl))
    elif process.returncode:
        log.warning("its process ended with %d", process.returncode, extra={"job": lease.id, "task": lease.task})
        await book.insist(store.crash(lease, ttl=settings.job_ttl, delay=PAUSE))


async def _watch(
    process: asyncio.subprocess.Process, lease: Lease, *, book: AsyncBook, catalog: Catalog
) -> Decision | None:
    """Wait for the end; what blocks its own loop, and so its own time limit, is decided here."""
    spec = catalog[lease.task]
    waiting = asyncio.ensure_future(process.communicate(quarantine.to_json(lease)))
    try:
        await asyncio.wait([waiting], timeout=(spec.timeout + START).total_seconds())
        if waiting.done():
            return None
        await book.insist(store.now())  # it may have ended, and wait for Redis
        await asyncio.wait([waiting], timeout=WRITE.total_seconds())
        if waiting.done():
            return None
    finally:
        waiting.cancel()
    late = AttemptTimeout(f"{spec.name} did not end within {spec.timeout.total_seconds():g} s")
    return decide(late, spec.retry, attempt=lease.attempt, jitter=0.5)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and what it started; first politely, so that it closes its connections."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        waiting = asyncio.ensure_future(process.wait())
        await asyncio.wait([waiting], timeout=FAREWELL.total_seconds())
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        log.debug("nothing is left of process %d", process.pid)
    await process.wait()
