"""Runs a suspect: a job that was there twice when a worker died gets a process of its own, and only that can die."""

import asyncio
import logging
import signal
import time
from datetime import timedelta

from tandem.llm_worker.isolation.supervisor import IsolationSupervisor, Run
from tandem.llm_worker.runtime import Runtime
from tandem.shared.jobs.attempt import timed_out
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Decision, HandBack, decide
from tandem.shared.store import commands, leases
from tandem.shared.store.leases import Lease

log = logging.getLogger("tandem.llm_worker")

START = timedelta(seconds=30)  # for the process, before and after the attempt's own time
WRITE = timedelta(seconds=5)  # for the outcome, once Redis answers
FAREWELL = timedelta(seconds=1)  # to close its connections, when it is told to stop
PAUSE = timedelta(seconds=1)  # before the next attempt


async def attempt_isolated(runtime: Runtime, supervisor: IsolationSupervisor, lease: Lease) -> None:
    """Run `lease` in a process of its own, which writes the outcome; if it dies instead, that is a crash."""
    book, ttl = runtime.book, runtime.settings.job_ttl
    log.info("runs in a process of its own", extra={"job": lease.id, "task": lease.task})
    run = supervisor.start(lease)
    decision: Decision | None = None
    try:
        decision = await _watch(run, lease, runtime)
    except asyncio.CancelledError:
        decision = HandBack(timedelta(0))
    finally:
        await _end(supervisor, run)
    if not run.started:
        decision = HandBack(PAUSE)
    if decision:
        await book.insist(leases.give_up(lease, decision, usage=Usage(), ttl=ttl))
    elif run.code is None:
        # Not its doing, as far as anybody knows: it is lost as with its worker.
        log.warning("the isolation server ended with it", extra={"job": lease.id, "task": lease.task})
        await book.insist(leases.lose(lease, ttl=ttl))
    elif run.code:
        log.warning("its process ended with %d", run.code, extra={"job": lease.id, "task": lease.task})
        await book.insist(leases.crash(lease, ttl=ttl, delay=PAUSE))


async def _watch(run: Run, lease: Lease, runtime: Runtime) -> Decision | None:
    """Wait for the end; what blocks its own loop, and so its own time limit, is decided here."""
    spec = runtime.catalog[lease.task]
    if await _works_for(run, spec.timeout + START):
        return None
    await runtime.book.insist(commands.now())  # it may have ended, and wait for Redis
    if await _over(run, WRITE):
        return None
    return decide(timed_out(spec.name, spec.timeout), spec.retry, attempt=lease.attempt, jitter=0.5)


async def _works_for(run: Run, most: timedelta) -> bool:
    """Wait for the end of what may work for so long; while its own time limit stands still this one does."""
    began = time.monotonic()
    while (left := most.total_seconds() + run.stood_still - (time.monotonic() - began)) > 0:
        if await _over(run, timedelta(seconds=left)):
            return True
    return False


async def _over(run: Run, within: timedelta) -> bool:
    try:
        async with asyncio.timeout(within.total_seconds()):
            await run.over.wait()
    except TimeoutError:
        return False
    return True


async def _end(supervisor: IsolationSupervisor, run: Run) -> None:
    """End the process and what it started; first politely, so that it closes its connections."""
    if not run.over.is_set():
        supervisor.signal(run, signal.SIGTERM)
        if not await _over(run, FAREWELL):
            supervisor.signal(run, signal.SIGKILL)
    await run.over.wait()
