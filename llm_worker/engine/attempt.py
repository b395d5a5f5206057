"""One attempt of one job: from the lease to the outcome in the job book. Its steps are `shared/jobs/attempt.py`'s."""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog

from tandem.llm_worker.engine.large_results import checked, kept
from tandem.llm_worker.generation.context import HANDLERS, LlmContext
from tandem.llm_worker.generation.reporter import Append, Reporter
from tandem.llm_worker.providers.hold import ALWAYS, Hold
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.llm_worker.rate_limit.time_limit import limited
from tandem.llm_worker.runtime import Runtime
from tandem.shared.jobs.attempt import check_input, report, timed_out, unknown_task, unreadable
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.retry import Decision, HandBack, decide
from tandem.shared.store import commands, events, leases, scripts
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.leases import Lease, Success
from tandem.shared.tasks.spec import AnySpec

log = logging.getLogger("tandem.llm_worker")


Outcome = Success | Decision


async def attempt(runtime: Runtime, lease: Lease, hold: Hold = ALWAYS) -> Outcome:
    """Run `lease` and write what became of it. Nothing the handler raises gets past this function.

    No request is sent while `hold` does not know that the lease is still the worker's.
    """
    with structlog.contextvars.bound_contextvars(job=lease.id, task=lease.task, request=lease.request_id):
        context = _context(runtime, lease, hold)
        outcome = await _outcome(runtime, lease, context)
        runtime.gate.give_back(context.tickets)
        call = _call(outcome, lease, context)
        # A finished result waits for Redis as long as it takes; the lease decides if it still counts.
        try:
            await _write(runtime.book, lease, call)
        except asyncio.CancelledError:  # the worker shuts down, or has learnt that the lease is lost
            await _write(runtime.book, lease, call)  # writing twice is writing once
        return outcome


async def _write(book: AsyncBook, lease: Lease, call: scripts.Call[bool]) -> None:
    if not await book.insist(call) and not await book.insist(leases.ended_in_order(lease)):
        log.warning("the lease was lost, the outcome is dropped")


def _context(runtime: Runtime, lease: Lease, hold: Hold) -> LlmContext:
    append = _appender(runtime.book, lease)
    return LlmContext(
        job_id=lease.id,
        hold=hold,
        tickets=Tickets.of(lease),
        owner=lease.owner,
        attempt=lease.attempt,
        settings=runtime.settings,
        router=runtime.router,
        append=append if lease.stream else None,
        reporter=Reporter(append),
    )


def _appender(book: AsyncBook, lease: Lease) -> Append:
    async def append(entries: Sequence[tuple[Kind, dict[str, Any]]]) -> bool:
        return await book.run(events.append(lease, entries))

    return append


def _call(outcome: Outcome, lease: Lease, context: LlmContext) -> scripts.Call[bool]:
    ttl = context.settings.job_ttl
    if isinstance(outcome, Success):
        return leases.succeed(lease, outcome, usage=context.usage, ttl=ttl)
    return leases.give_up(lease, outcome, usage=context.usage, ttl=ttl)


async def _outcome(runtime: Runtime, lease: Lease, context: LlmContext) -> Outcome:
    try:
        if lease.problem:
            log.warning("%s", lease.problem)
            return unreadable(lease.problem)
        if lease.task not in runtime.catalog:
            return await _unknown(runtime.book, lease)
        return await _run(runtime.catalog[lease.task], lease, context, runtime)
    except asyncio.CancelledError:
        # Only the worker cancels an attempt: it shuts down, or the lease is lost and this writes nothing.
        log.info("stopped; handed back if it is still ours")
        return HandBack(timedelta(0))


async def _unknown(book: AsyncBook, lease: Lease) -> Decision:
    """Leave a task that this worker does not know to another one, unless workers have done so for long."""
    await book.insist(commands.note_unknown_task(lease.id))
    decision = unknown_task(lease.task, known_for=await book.insist(commands.unknown_task_age(lease.id)))
    log.warning("this worker does not know its task, %s", decision)
    return decision


async def _run(spec: AnySpec, lease: Lease, context: LlmContext, runtime: Runtime) -> Outcome:
    try:
        output = await checked(spec, await _handle(spec, lease, context))
        result = await kept(output, lease, runtime.files, runtime.book.client)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit in a handler must not end the other jobs
        decision = decide(error, spec.retry, attempt=lease.attempt, throttled=lease.throttled, jitter=random.random())  # noqa: S311
        log.log(*report(decision, error, attempt=lease.attempt))
        return decision
    log.info("succeeded")
    return Success(result, provider=context.asked)


async def _handle(spec: AnySpec, lease: Lease, context: LlmContext) -> object:
    payload = check_input(spec, lease.payload)
    try:
        async with limited(spec.timeout) as limit:
            return await HANDLERS[spec.name](context, payload)
    except TimeoutError:
        if not limit.expired:
            raise
        raise timed_out(spec.name, spec.timeout) from None
