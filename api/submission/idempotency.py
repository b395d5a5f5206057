"""`Idempotency-Key`: the same key and body are the same job, answered as it is now; another body is refused.
So is a repeat whose job is gone: the key holds as long as it was promised.

The script that stores a job finds the key: `shared/store/lua/jobs/store_job.lua`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field

from tandem.api.jobs import outgoing
from tandem.api.server.errors import NotFound
from tandem.shared.dispatch import Receipt
from tandem.shared.errors import JobGone, UnreadableRecord
from tandem.shared.jobs.model import Job
from tandem.shared.store.executor import AsyncBook

IdempotencyKey = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Printable ASCII, your own choice: a repeat with the same body is the same job, answered with 200.",
    ),
]
REPLAYED: dict[str, Any] = {
    "Idempotency-Replayed": {"schema": {"const": "true"}, "description": "The job was there already."}
}


def replay_headers(receipt: Receipt) -> dict[str, str]:
    """Say of a repeat that it is one."""
    return {"Idempotency-Replayed": "true"} if receipt.replayed else {}


async def once(enqueue: Callable[[], Awaitable[Receipt]], book: AsyncBook) -> tuple[Job, Receipt]:
    """Enqueue, and give the job as it is now: new, or the one that the key has.

    Raises:
        KeyReused: the key belongs to another submission.
        JobGone: the key's job is no more.
        NotFound: its record can't be read. Else as `enqueue` says.

    """
    receipt = await enqueue()
    try:
        job = receipt.job or await book.run(outgoing.read(receipt.id))
    except UnreadableRecord as error:  # the key is its owner's, who may know
        raise NotFound(str(error)) from error
    if job is None:  # erased between the two
        raise JobGone
    return job, receipt
