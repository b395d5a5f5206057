"""Submitting a job, as one call."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tandem.shared.jobs import texts
from tandem.shared.jobs.submission import Admission, Idempotency, Refused, Repeated, Stored, Submission
from tandem.shared.store.scripts import ADMISSION, Call, Flag, script


def store_job(
    job: Submission, admission: Admission, key: Idempotency | None = None
) -> Call[Stored | Repeated | Refused]:
    """Store and enqueue, in one step with all that decides about it."""
    options, payload = job.options, texts.pack("" if admission.no_room else job.payload)
    return _store_job(
        id=job.id,
        queue=job.queue,
        task=job.task,
        owner=job.owner,
        priority=options.priority,
        payload=payload.kept,
        payload_bytes=payload.bytes,
        max_attempts=job.max_attempts,
        request_id=job.request_id or None,
        run_at=options.run_at,
        delay=options.delay or None,
        expires_in=options.expires_in or None,
        max_age=admission.max_age or None,
        webhook=options.webhook_url,
        url=job.url,
        stream=options.stream,
        queue_max=admission.queue_max,
        share=admission.share if admission.share is not None else admission.queue_max,
        rpm=admission.rpm,
        no_room=admission.no_room,
        idempotency=key.key if key else None,
        fingerprint=key.fingerprint if key else None,
        idempotency_ttl=key.ttl if key else None,
        lane=job.lane,
        apart=job.apart,
        rq_fields=job.rq,
    )


@script("jobs/store_job", library=ADMISSION, flag=Flag.NOTHING, in_groups=True)
def _store_job(
    *,
    id: str,
    queue: str,
    task: str,
    owner: str,
    priority: str,
    payload: bytes,
    payload_bytes: int,
    max_attempts: int,
    request_id: str | None,
    run_at: datetime | None,
    delay: timedelta | None,
    expires_in: timedelta | None,
    max_age: timedelta | None,
    webhook: str | None,
    url: str | None,
    stream: bool,
    queue_max: int,
    share: int,
    rpm: int | None,
    no_room: bool,
    idempotency: str | None,
    fingerprint: str | None,
    idempotency_ttl: timedelta | None,
    lane: str | None,
    apart: bool,
    rq_fields: Sequence[bytes | str],
) -> Stored | Repeated | Refused: ...
