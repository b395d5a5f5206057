"""Submitting a job, as one call."""

import json
from datetime import datetime, timedelta
from typing import Any

from tandem.shared.jobs.model import at
from tandem.shared.jobs.submission import Admission, Idempotency, Refused, Repeated, Stored, Submission
from tandem.shared.store.scripts import Call, ms


def submit(job: Submission, admission: Admission, key: Idempotency | None = None) -> Call[Stored | Repeated | Refused]:
    """Store and enqueue, in one step with all that decides about it."""
    options = job.options
    head: dict[str, Any] = {
        "id": job.id,
        "queue": job.queue,
        "task": job.task,
        "owner": job.owner,
        "priority": options.priority,
        "max_attempts": job.max_attempts,
        "request_id": job.request_id,
        "queue_max": admission.queue_max,
        "share": admission.share if admission.share is not None else admission.queue_max,
        "rpm": admission.rpm,
        "run_at": _epoch_ms(options.run_at) if options.run_at else None,
        "delay": ms(options.delay) if options.delay else None,
        "expires_in": ms(options.expires_in) if options.expires_in else None,
        "webhook": options.webhook_url,
        "url": job.url,
        "stream": options.stream or None,
    }
    if key:
        head |= {"idempotency": key.key, "fingerprint": key.fingerprint, "idempotency_ttl": ms(key.ttl)}
    given = {name: value for name, value in head.items() if value is not None}
    return Call("submit", [json.dumps(given), job.payload, *job.rq], _submitted)


def _submitted(answer: Any) -> Stored | Repeated | Refused:
    match answer[0]:
        case b"stored":
            _, created, due, estimate, left, full_in = answer
            return Stored(
                at(created),
                at(due),
                at(estimate) if estimate >= 0 else None,
                left if left >= 0 else None,
                timedelta(milliseconds=full_in),
            )
        case b"replay" | b"conflict":
            return Repeated(answer[1].decode(), answer[0] == b"replay")
        case kind:
            wait = answer[-1]
            return Refused(kind.decode(), timedelta(milliseconds=wait) if wait >= 0 else None)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
