"""The one door to either queue. Writes the engines' wire formats itself: `shared` imports no engine."""

import json
import zlib
from datetime import UTC, datetime

from ulid import ULID

from shared import store
from shared.book import AsyncBook
from shared.errors import QueueFull
from shared.job import Job, Status, at
from shared.spec import AnySpec, Input, Queue
from shared.store import Submission


class Dispatcher:
    """Hands jobs over to the pools.

    Raises:
        QueueFull: as many jobs wait as the queue may hold; nothing was stored.
        StoreUnavailable: Redis is away or can't write; nothing was stored.

    """

    def __init__(self, book: AsyncBook, *, queue_max: int) -> None:
        self._book = book
        self._queue_max = queue_max

    async def submit(self, spec: AnySpec, payload: Input, *, owner: str, request_id: str) -> Job:
        """Store a job and put it in its queue, in one round trip."""
        job = submission(spec, payload, owner=owner, request_id=request_id)
        created = await self._book.run(store.submit(job, queue_max=self._queue_max))
        if created is None:
            raise QueueFull(f"the {spec.queue} queue is full")
        return Job(
            id=job.id,
            task=spec.name,
            queue=spec.queue,
            owner=owner,
            status=Status.QUEUED,
            priority="normal",
            attempt=0,
            max_attempts=job.max_attempts,
            created_at=at(created),
            request_id=request_id,
        )


def submission(spec: AnySpec, payload: Input, *, owner: str, request_id: str) -> Submission:
    """Make a job's record and its engine's fields."""
    job_id = str(ULID())
    return Submission(
        id=job_id,
        queue=spec.queue,
        task=spec.name,
        owner=owner,
        payload=payload.model_dump_json(by_alias=True, exclude_unset=True),
        max_attempts=spec.retry.max_attempts,
        request_id=request_id,
        engine=[arq_head(spec.name)] if spec.queue is Queue.LLM else rq_hash(spec, job_id),
    )


def arq_head(task: str) -> str:
    """Give the value of `arq:job:<id>` up to its last field, `et`: the script adds Redis's time."""
    return f'{{"t": null, "f": {json.dumps(task)}, "a": [], "k": {{}}, "et": '


def rq_hash(spec: AnySpec, job_id: str) -> list[bytes | str]:
    """Give the fields of `rq:job:<id>`. They name task and id and carry nothing a user wrote."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    call = json.dumps([spec.name, None, [job_id], {}])
    fields: dict[str, bytes | str] = {
        "created_at": now,
        "data": zlib.compress(call.encode()),
        "success_callback_name": "",
        "failure_callback_name": "",
        "stopped_callback_name": "",
        "started_at": "",
        "ended_at": "",
        "last_heartbeat": "",
        "worker_name": "",
        "group_id": "",
        "origin": spec.queue.value,
        "description": f"{spec.name} {job_id}",
        "enqueued_at": now,
        "timeout": str(round(spec.timeout.total_seconds())),
        "status": "queued",
    }
    return [part for pair in fields.items() for part in pair]
