"""`Idempotency-Key`: the same key and body are the same job, answered as it is now; another body is refused.

The script that stores a job finds the key: `shared/store/lua/jobs/store_job.lua`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field

from tandem.api.jobs import outgoing
from tandem.shared.dispatch import Receipt
from tandem.shared.errors import ServiceError
from tandem.shared.jobs.model import Job
from tandem.shared.store.executor import AsyncBook

TRIES = 5  # of a key whose job goes away between the answer and the look

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
        ServiceError: the key's job is being erased.
        KeyReused: the key belongs to another submission. Else as `enqueue` says.

    """
    for _ in range(TRIES):
        receipt = await enqueue()
        # A job that was erased since has freed its key: the same request then makes a new one.
        if job := receipt.job or await book.run(outgoing.read(receipt.id)):
            return job, receipt
    raise ServiceError("the job of this Idempotency-Key is being erased")
