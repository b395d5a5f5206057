"""One attempt of one job: from the lease to the outcome in the job book."""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from tandem.llm_worker.generation.context import HANDLERS, LlmContext
from tandem.llm_worker.generation.reporter import Append, Reporter
from tandem.shared.errors import AttemptTimeout, FinalError
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.retry import Decision, HandBack, decide
from tandem.shared.store import commands, events, scripts
from tandem.shared.store.commands import Lease, Success
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec, Output

log = logging.getLogger("tandem.llm_worker")


Outcome = Success | Decision


async def attempt(worker: dict[str, Any], lease: Lease) -> Outcome:
    """Run `lease` and write what became of it. Nothing the handler raises gets past this function."""
    with structlog.contextvars.bound_contextvars(job=lease.id, task=lease.task, request=lease.request_id):
        catalog: Catalog = worker["catalog"]
        spec = catalog[lease.task]
        append = _appender(worker["book"], lease)
        context = LlmContext(
            job_id=lease.id,
            owner=lease.owner,
            attempt=lease.attempt,
            settings=worker["settings"],
            router=worker["router"],
            append=append if lease.stream else None,
            reporter=Reporter(append),
        )
        outcome = await _outcome(spec, lease, context)
        call = _call(outcome, lease, context)
        # A finished result waits for Redis as long as it takes; the lease decides if it still counts.
        try:
            written = await worker["book"].insist(call)
        except asyncio.CancelledError:
            written = await worker["book"].insist(call)  # the worker shuts down; writing twice is writing once
        if not written:
            log.warning("the lease was lost, the outcome is dropped")
        return outcome


def _appender(book: AsyncBook, lease: Lease) -> Append:
    async def append(entries: Sequence[tuple[Kind, dict[str, Any]]]) -> bool:
        return await book.run(events.append(lease, entries))

    return append


def _call(outcome: Outcome, lease: Lease, context: LlmContext) -> scripts.Call[bool]:
    ttl = context.settings.job_ttl
    if isinstance(outcome, Success):
        return commands.succeed(lease, outcome, usage=context.usage, ttl=ttl)
    return commands.give_up(lease, outcome, usage=context.usage, ttl=ttl)


async def _outcome(spec: AnySpec, lease: Lease, context: LlmContext) -> Outcome:
    try:
        output = await _run(spec, lease, context)
        result = output.model_dump_json(by_alias=True)
    except asyncio.CancelledError:
        # Only the worker cancels an attempt: it shuts down, or the lease is lost and this writes nothing.
        log.info("handed back")
        return HandBack(timedelta(0))
    except BaseException as error:  # noqa: BLE001 - SystemExit in a handler must not end the other jobs
        decision = decide(error, spec.retry, attempt=lease.attempt, throttled=lease.throttled, jitter=random.random())  # noqa: S311
        log.warning("attempt %d failed, %s", lease.attempt, decision)
        return decision
    log.info("succeeded")
    return Success(result, provider=context.asked)


async def _run(spec: AnySpec, lease: Lease, context: LlmContext) -> Output:
    try:
        payload = spec.input.model_validate_json(lease.payload)
    except ValidationError as error:
        raise FinalError(_explain(error), type="invalid_input") from None
    seconds = spec.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds) as limit:
            return await HANDLERS[spec.name](context, payload)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AttemptTimeout(f"{spec.name} did not end within {seconds:g} s") from None


def _explain(error: ValidationError) -> str:
    """Name the fields and not what they hold."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the input'}: {fault['msg']}" for fault in faults)
