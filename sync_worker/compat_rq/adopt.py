"""Takes jobs of plain RQ into the job book, and shows RQ what became of them."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from redis.exceptions import RedisError, ResponseError

from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import RqKey
from tandem.shared.store.leases import Claimed, Unknown
from tandem.shared.store.scripts import Call
from tandem.shared.tasks.spec import Priority, Queue
from tandem.sync_worker.compat_rq.jobs import Refused, RqCall, rq_result

log = logging.getLogger("tandem.sync_worker")


def adopt_all(book: Book, settings: Settings, claimed: Claimed) -> None:
    """Adopt or refuse what a claim found beside its lease.

    Raises:
        StoreUnavailable: there is no lease. One that is there is run; the clock sees to the rest.

    """
    try:
        for entry in claimed.unknown:
            adopt(book, settings, entry)
    except StoreUnavailable as error:
        if not claimed.leases:
            raise
        log.warning("jobs of plain RQ are left to the clock: %s", error)


def adopt(book: Book, settings: Settings, entry: Unknown) -> bool:
    """Adopt a queue entry that is not in the job book, or refuse it: then RQ shows it as failed, with the reason."""
    origin = entry.queue
    try:
        if not entry.is_text:
            raise Refused("its id is no text")
        call = RqCall.read(book.run(_record(entry.id)), settings.rq_imports or ())
        payload = call.model_dump_json()
        RqCall.model_validate_json(payload)  # what is nested too deeply can be written, but not be read
    except (ValueError, RecursionError, ResponseError) as error:  # a hash that is none is no outage
        why = str(error) if isinstance(error, Refused) else "its record can't be read"
        log.warning("refused %s of RQ's queue %s: %s", entry.id, origin, why)
        book.run(commands.reject(entry.raw, origin=origin, why=why, shown=entry.is_text))
        return False
    return book.run(
        commands.adopt(
            entry.id,
            queue=Queue.SYNC,
            task=call.function,
            payload=payload,
            max_attempts=call.max_attempts,
            native="rq",
            priority=Priority.NORMAL,
            origin=origin,
            max_age=settings.max_age or None,
        )
    )


def _record(job_id: str) -> Call[Mapping[bytes, bytes]]:
    """Read RQ's record: by the book, so that an outage is one of its own."""
    return Call("HGETALL", [RqKey.RQ_JOB + job_id], lambda fields: cast("Mapping[bytes, bytes]", fields), command=True)


def show_result(book: Book, job_id: str, *, ttl: timedelta) -> None:
    """Write RQ's own result of a finished job. The record has it: what is lost here only RQ's tools don't show."""
    job = book.run(commands.fetch(job_id))
    if job is None or not job.finished or not (job.error or job.result is not None):
        return
    good = job.error is None
    text = job.result_json if good else f"{job.error}".encode()
    try:
        book.client.xadd(RqKey.RQ_RESULTS + job_id, rq_result(cast("bytes", text).decode(), good=good), maxlen=10)  # type: ignore[arg-type]  # invariant dict
        book.client.pexpire(RqKey.RQ_RESULTS + job_id, ttl)
    except RedisError as error:
        log.warning("RQ's result of %s was not written: %s", job_id, error)
