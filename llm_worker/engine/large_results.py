"""A large result leaves the worker as a file.

Threads of their own write them: each may wait minutes for a store that hangs, and in the event loop's, which are few,
hosts are looked up. No more than these hold a large result a second time, as bytes.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tandem.shared.jobs.model import Artefact
from tandem.shared.storage.artifacts import LARGE, Artifacts
from tandem.shared.store.leases import Lease

WRITERS = ThreadPoolExecutor(4, thread_name_prefix="large results")


async def kept(result: str, lease: Lease, files: Artifacts) -> str | Artefact:
    """Store a large result; plain arq's clients look for theirs in Redis.

    Raises:
        TransientError: the store did not take it.

    """
    if lease.native or len(result) <= LARGE // 4:  # a character is four bytes at most
        return result
    put = partial(files.put_result, owner=lease.owner, job=lease.id, run=lease.token, result=result)
    return await asyncio.get_running_loop().run_in_executor(WRITERS, put)
