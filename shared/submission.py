"""Submitting a job, as data: what is stored, what decides about it, and what the book answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.job import at
from shared.scripts import Call, ms


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a submitter may ask for beside the task's input."""

    priority: str = "normal"
    run_at: datetime | None = None
    delay: timedelta | None = None
    expires_in: timedelta | None = None
    webhook_url: str | None = None
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a queue takes: `queue_max` waiting jobs, `share` of them of one owner, `rpm` submissions a minute."""

    queue_max: int
    share: int | None = None
    rpm: int | None = None


@dataclass(frozen=True)
class Idempotency:
    """A key (already made unique for its owner) and what it was used for."""

    key: str
    fingerprint: str
    ttl: timedelta


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job to store: its record and the fields that RQ wants."""

    id: str
    queue: str
    task: str
    owner: str
    payload: str
    max_attempts: int
    request_id: str
    options: Options = field(default_factory=Options)
    rq: Sequence[bytes | str] = ()


@dataclass(frozen=True)
class Stored:
    """It is in the book. `left` and `full_in` describe the owner's bucket of submissions, if it has one."""

    created_at: datetime
    run_at: datetime
    estimated_start: datetime | None
    left: int | None
    full_in: timedelta


@dataclass(frozen=True)
class Repeated:
    """The idempotency key has a job: the same submission if `same`, another one if not."""

    id: str
    same: bool


@dataclass(frozen=True)
class Refused:
    """Nothing was stored; `kind` is rate, full or share; `wait` until it may pass, None if nobody can say."""

    kind: str
    wait: timedelta | None


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
