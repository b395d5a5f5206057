"""A job on its way in: what is stored, what decides about it, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tandem.shared.tasks.spec import Priority


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a submitter may ask for beside the task's input."""

    priority: Priority = Priority.NORMAL
    run_at: datetime | None = None
    delay: timedelta | None = None
    expires_in: timedelta | None = None
    webhook_url: str | None = None
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a queue takes: `queue_max` waiting jobs, `share` of them of one owner, `rpm` submissions a minute.

    `max_age` is how long after it is due a job may still begin, or begin again; None or zero: for ever.
    `no_room`: Redis's memory is nearly full, nothing new is stored.
    """

    queue_max: int
    share: int | None = None
    rpm: int | None = None
    max_age: timedelta | None = None
    no_room: bool = False


@dataclass(frozen=True)
class Idempotency:
    """A key (already made unique for its owner) and what it was used for."""

    key: str
    fingerprint: str
    ttl: timedelta


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job to store: its record and the fields that RQ wants.

    `lane` is what its first request needs of a provider, as text (`shared/limits/forecast.py`); None in the sync pool.
    `apart`: of its task so many may run at once and no more, so it waits beside its owner's other jobs.
    `url` is the job's own page in the API, given only where a webhook will name it.
    """

    id: str
    queue: str
    task: str
    owner: str
    payload: str
    max_attempts: int
    request_id: str
    options: Options = field(default_factory=Options)
    rq: Sequence[bytes | str] = ()
    url: str | None = None
    lane: str | None = None
    apart: bool = False


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
    """The idempotency key has a job: the same submission if `same`, another one if not; `gone`: it was erased since."""

    id: str
    same: bool
    gone: bool


@dataclass(frozen=True)
class Refused:
    """Nothing was stored; `kind` is rate, full, share or memory; `wait` until it may pass, None if nobody can say."""

    kind: str
    wait: timedelta | None
