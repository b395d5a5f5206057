"""A large result leaves the worker as a file.

A provider was paid for it: where the store of files does not take it, it goes into Redis, up to 1 MB and if there is
room, and else the store is asked again for a while.

Threads of their own write them: each may wait minutes for a store that hangs, and in the event loop's, which are few,
hosts are looked up. No more than these hold a large result a second time, as bytes.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from tandem.shared.errors import TransientError
from tandem.shared.jobs.attempt import check_output
from tandem.shared.jobs.encoding import long_list
from tandem.shared.jobs.model import Artefact
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.runtime.redis_memory import has_room
from tandem.shared.storage.artifacts import LARGE, Artifacts
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.spec import AnySpec

log = logging.getLogger("tandem.llm_worker")

WRITERS = ThreadPoolExecutor(4, thread_name_prefix="large results")
LARGEST_IN_REDIS = 1024 * 1024  # bytes of a result
PATIENCE = timedelta(seconds=10)  # with the store, before such a result goes there
TRIED_FOR = timedelta(seconds=60)  # what Redis does not take
PAUSE = timedelta(seconds=1)


async def checked(spec: AnySpec, output: object) -> str:
    """Check an output as `check_output` does; in a thread if it may take long, so that the other jobs go on."""
    if long_list(output):
        return await asyncio.to_thread(check_output, spec, output)
    return check_output(spec, output)


async def kept(result: str, lease: Lease, files: Artifacts, redis: AsyncClient) -> str | Artefact:
    """Store a large result, and say where; it comes back itself if Redis is to keep it.

    Plain arq's clients look for theirs in Redis.

    Raises:
        TransientError: the store did not take it, nor could Redis.

    """
    if lease.native or len(result) <= LARGE // 4:  # a character is four bytes at most
        return result
    size = len(result.encode()) if len(result) <= LARGEST_IN_REDIS else len(result)
    put = partial(files.put_result, owner=lease.owner, job=lease.id, run=lease.token, result=result)
    if size > LARGEST_IN_REDIS:
        return await _insist(put)
    try:
        return await _stored(put, size, redis) or result
    except asyncio.CancelledError:  # the worker has to end: another one would ask, and pay, again
        return result


async def _stored(put: partial[str | Artefact], size: int, redis: AsyncClient) -> str | Artefact | None:
    """Store a result that Redis could keep; None if it is to."""
    try:
        return await _in_time(put, PATIENCE.total_seconds())
    except TransientError as error:
        if not await has_room(redis, size):
            return await _insist(put)
        log.warning("%s; the result, %d bytes, goes into Redis", error.message, size)
        return None


async def _insist(put: partial[str | Artefact]) -> str | Artefact:
    """Try again for as long as is reasonable; the lease is renewed meanwhile."""
    loop = asyncio.get_running_loop()
    end = loop.time() + TRIED_FOR.total_seconds()
    while True:
        try:
            return await _in_time(put, max(end - loop.time(), PATIENCE.total_seconds()))
        except TransientError as error:
            if loop.time() >= end:
                raise
            log.warning("%s; it is asked again", error.message)
        await asyncio.sleep(PAUSE.total_seconds())


async def _in_time(put: partial[str | Artefact], patience: float) -> str | Artefact:
    try:
        async with asyncio.timeout(patience):
            return await asyncio.get_running_loop().run_in_executor(WRITERS, put)
    except TimeoutError:
        raise TransientError("the store of files does not answer", type="storage_unavailable") from None
