"""The clock's loop, in this process: it does the duties until it is told to stop."""

import asyncio
from datetime import timedelta
from pathlib import Path

from tandem.shared.config.settings import Settings
from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.retry import RetryIn
from tandem.shared.maintenance import clock
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tests.support.jobs import FAILURE, TTL, claim, expire_lease, get, put
from tests.support.processes import until


async def test_it_moves_what_is_due_and_recovers_what_is_lost(book: Book, valkey: str, tmp_path: Path) -> None:
    put(book, "report")
    [again] = claim(book, "sync")
    book.run(leases.give_up(again, RetryIn(timedelta(milliseconds=1), FAILURE), usage=Usage(), ttl=TTL))
    put(book, "report")
    [lost] = claim(book, "sync")
    expire_lease(book, lost)
    settings = Settings(_env_file=None, redis_url=valkey, run_dir=tmp_path)
    stop = asyncio.Event()
    running = asyncio.create_task(clock.run(settings, stop))
    await asyncio.to_thread(until, lambda: {get(book, job.id).status for job in (again, lost)} == {Status.QUEUED})
    stop.set()
    await running
