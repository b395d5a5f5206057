"""The one way into either queue. Writes RQ's wire format itself (arq's is in lua/lib): `shared` imports no engine."""

import asyncio
import hashlib
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ulid import ULID

from tandem.shared.config.api_keys import ApiKey
from tandem.shared.errors import JobGone, KeyReused, MemoryShort, QueueFull, RateExceeded, ServiceError, ShareFull
from tandem.shared.jobs import texts
from tandem.shared.jobs.model import Job, Status
from tandem.shared.jobs.submission import Admission, Idempotency, Options, Refused, Repeated, Stored, Submission
from tandem.shared.limits.lanes import Lanes
from tandem.shared.quota import Quota
from tandem.shared.runtime.redis_memory import RedisMemory
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.scripts import Call
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import AnySpec, Input, Queue

DEFAULT = Options()
UNKNOWN_WAIT = 10  # seconds; nothing ended lately, so nobody can say
REFUSALS: dict[str, tuple[type[ServiceError], str]] = {
    "full": (QueueFull, "the {queue} queue is full"),
    "share": (ShareFull, "this key's share of the {queue} queue is full"),
    "rate": (RateExceeded, "this key submits too fast"),
    "memory": (MemoryShort, "the job store is nearly full"),
}


@dataclass(frozen=True)
class Receipt:
    """A submission that was taken: stored now, or `replayed` (then only `id` says which job it is)."""

    id: str
    job: Job | None
    quota: Quota | None = None

    @property
    def replayed(self) -> bool:
        return self.job is None


class Dispatcher:
    """Hands jobs over to the pools.

    `url_of` gives the URL of a job's page by its id, which webhooks then name; `lanes` tells where
    jobs wait for limits; `memory` tells whether Redis has room.

    Raises:
        QueueFull, ShareFull, RateExceeded, MemoryShort: nothing was stored; `retry_after` says when it may pass.
        KeyReused: the idempotency key belongs to another submission.
        JobGone: the idempotency key's job is no more.
        StoreUnavailable: Redis is away or can't write. If it hangs, the job may have been stored, or be stored yet.

    """

    def __init__(
        self,
        book: AsyncBook,
        *,
        admission: Admission,
        idempotency_ttl: timedelta,
        url_of: Callable[[str], str] | None = None,
        lanes: Lanes | None = None,
        memory: RedisMemory | None = None,
    ) -> None:
        self._book = book
        self._admission = admission
        self._idempotency_ttl = idempotency_ttl
        self._url_of = url_of
        self._lanes = lanes
        self._memory = memory

    async def enqueue(
        self,
        spec: AnySpec,
        payload: Input,
        *,
        caller: ApiKey,
        request_id: str,
        options: Options = DEFAULT,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Store a job and put it in its queue, in one round trip."""
        lane = self._lanes.of_job(spec, payload) if self._lanes else None
        job = submission(spec, payload, owner=caller.name, request_id=request_id, options=options, lane=lane)
        if self._lanes and self._lanes.has_limit(spec):
            job = replace(job, apart=True)
        if self._url_of and options.webhook_url:
            job = replace(job, url=self._url_of(job.id))
        key = idempotency(job, idempotency_key, self._idempotency_ttl) if idempotency_key else None
        admission = self._admission_of(caller)
        answer = await self._store(job, admission, key, frees=spec.admin)
        match answer:
            case Stored():
                return Receipt(job.id, _record(spec, job, answer), _quota(admission, answer))
            case Repeated(same=False):
                raise KeyReused("the Idempotency-Key was used for another submission")
            case Repeated(gone=True):
                raise JobGone
            case Repeated(id_):
                return Receipt(id_, None, _quota(admission, answer))
            case Refused():
                raise _refusal(spec, answer, _quota(admission, answer))

    async def _store(
        self, job: Submission, admission: Admission, key: Idempotency | None, *, frees: bool
    ) -> Stored | Repeated | Refused:
        """Store it if there is room; what `frees` some, as `cleanup` does, until Redis itself refuses it."""
        size = len(job.payload)
        if self._memory is None or frees:
            return await self._book.run(await _packed(job, admission, key))
        if self._memory.lacks(size):
            return await self._book.run(store_job(job, replace(admission, no_room=True), key))
        with self._memory.stores(size):
            return await self._book.run(await _packed(job, admission, key))

    def _admission_of(self, caller: ApiKey) -> Admission:
        """Give the platform's limits, or those that the configuration sets for this key."""
        share = self._admission.share
        if caller.share is not None:
            share = places(caller.share, self._admission.queue_max)
        rpm = self._admission.rpm if caller.rpm is None else caller.rpm
        return replace(self._admission, share=share, rpm=rpm)


async def _packed(job: Submission, admission: Admission, key: Idempotency | None) -> Call[Stored | Repeated | Refused]:
    """Make the call that stores it. To compress a large input is no work for the event loop."""
    if len(job.payload) < texts.LARGE:
        return store_job(job, admission, key)
    return await asyncio.to_thread(store_job, job, admission, key)


def places(share: float, queue_max: int) -> int:
    """Give the number of waiting jobs that a share of a queue is: at least one."""
    return max(1, math.floor(queue_max * share + 1e-9))


def _quota(admission: Admission, answer: Stored | Repeated | Refused) -> Quota | None:
    """Say how the submitter's bucket stands, if it has one; nobody looked into it where something else refused."""
    if admission.rpm is None:
        return None
    match answer:
        case Stored(left=left, full_in=full_in):
            return Quota(admission.rpm, left, full_in)
        case Refused("rate", wait) if wait is not None:
            return Quota(admission.rpm, 0, wait + timedelta(minutes=1) * (1 - 1 / admission.rpm))
        case _:
            return Quota(admission.rpm)


def _refusal(spec: AnySpec, refused: Refused, quota: Quota | None) -> ServiceError:
    error, message = REFUSALS[refused.kind]
    seconds = UNKNOWN_WAIT if refused.wait is None else max(1, math.ceil(refused.wait.total_seconds()))
    return error(message.format(queue=spec.queue), retry_after=seconds, quota=quota)


def submission(
    spec: AnySpec,
    payload: Input,
    *,
    owner: str,
    request_id: str,
    options: Options = DEFAULT,
    job_id: str | None = None,
    lane: str | None = None,
) -> Submission:
    """Make a job's record and its engine's fields."""
    job_id = job_id or str(ULID())
    return Submission(
        id=job_id,
        queue=spec.queue,
        task=spec.name,
        owner=owner,
        payload=payload.model_dump_json(by_alias=True, exclude_unset=True),
        max_attempts=spec.retry.max_attempts,
        request_id=request_id,
        options=options,
        lane=lane,
        rq=() if spec.queue is Queue.LLM else rq_hash(spec, job_id),
    )


def idempotency(job: Submission, key: str, ttl: timedelta) -> Idempotency:
    """Make a client's key the owner's own, with a fingerprint of what it is used for."""
    mine = hashlib.sha256(f"{job.owner}\n{key}".encode()).hexdigest()
    return Idempotency(mine, hashlib.sha256(f"{job.task}\n{job.payload}".encode()).hexdigest(), ttl)


def _record(spec: AnySpec, job: Submission, stored: Stored) -> Job:
    """Say what the book holds now, without asking it again."""
    ahead = stored.run_at > stored.created_at
    return Job(
        id=job.id,
        task=spec.name,
        queue=spec.queue,
        owner=job.owner,
        status=Status.SCHEDULED if ahead else Status.QUEUED,
        priority=job.options.priority,
        attempt=0,
        max_attempts=job.max_attempts,
        created_at=stored.created_at,
        run_at=stored.run_at if ahead else None,
        estimated_start=stored.estimated_start,
        request_id=job.request_id,
        url=job.url,
    )


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
