"""One attempt of one job, in its own process: from the lease to the outcome in the job book.

Its steps are those of `shared/jobs/attempt.py`. The time limit is kept by the parent.
"""

import logging
import random
from collections.abc import Callable

import structlog
from pydantic import ByteSize

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError
from tandem.shared.jobs.attempt import check_input, check_output, report
from tandem.shared.jobs.model import Artefact, Usage
from tandem.shared.jobs.retry import decide
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease, Success
from tandem.shared.store.scripts import Call
from tandem.shared.tasks.spec import AnySpec
from tandem.sync_worker.compat_rq.adopt import show_result
from tandem.sync_worker.compat_rq.jobs import RqCall
from tandem.sync_worker.context import HANDLERS, SyncContext
from tandem.sync_worker.engine.plan import CATALOG, plan_of

log = logging.getLogger("tandem.sync_worker")


def attempt(settings: Settings, book: Book, lease: Lease, *, done: Callable[[], None]) -> None:
    """Run `lease` and write what became of it. `book` has not been used yet: no two processes share a connection.

    `done` is called between the two: the time limit is for the work, and Redis may be away.
    """
    with structlog.contextvars.bound_contextvars(job=lease.id, task=lease.task, request=lease.request_id):
        outcome = _outcome(lease, settings, book)
        done()
        if book.insist(outcome):
            if lease.native:
                show_result(book, lease.id, ttl=settings.job_ttl)
        elif not book.insist(leases.ended_in_order(lease)):
            log.warning("the lease was lost, the outcome is dropped")


def _outcome(lease: Lease, settings: Settings, book: Book) -> Call[bool]:
    ttl = settings.job_ttl
    try:
        context = SyncContext(lease=lease, settings=settings, book=book)
        success = Success(_kept(_run(lease, context), context), file=context.file)
        log.info("succeeded")
        return leases.succeed(lease, success, usage=Usage(), ttl=ttl)
    except BaseException as error:  # noqa: BLE001 - WeasyPrint raises BaseExceptions, and sys.exit() is a failure
        policy, own_words = plan_of(lease).retry, bool(lease.native)
        decision = decide(error, policy, attempt=lease.attempt, jitter=random.random(), own_words=own_words)  # noqa: S311
        log.log(*report(decision, error, attempt=lease.attempt))
        return leases.give_up(lease, decision, usage=Usage(), ttl=ttl)


def _run(lease: Lease, context: SyncContext) -> str:
    if lease.native:
        return RqCall.model_validate_json(lease.payload).run(context.settings.rq_imports or ())
    spec = CATALOG[lease.task]
    return check_output(spec, _handle(spec, lease, context))


def _kept(result: str, context: SyncContext) -> str | Artefact:
    """Store a large result as a file; plain RQ's clients look for theirs in Redis."""
    if context.lease.native:
        return result
    return context.files.put_result(owner=context.owner, job=context.job_id, run=context.lease.token, result=result)


def _handle(spec: AnySpec, lease: Lease, context: SyncContext) -> object:
    payload = check_input(spec, lease.payload)
    try:
        return HANDLERS[spec.name](context, payload)
    except MemoryError:
        raise over_memory(None, context.settings.sync_memory) from None


def over_memory(used: int | None, limit: ByteSize) -> FinalError:
    """Say that a job wants more memory than it may have; another attempt would want as much."""
    held = f"held {ByteSize(used).human_readable()}" if used else "asked for far more"
    message = f"the job {held}, its limit is {limit.human_readable()} (TANDEM_SYNC_MEMORY)"
    return FinalError(message, type="memory_limit")
