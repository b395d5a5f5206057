"""The tree of errors. Each knows its type, its HTTP status and whether it is worth a retry.

TandemError
├── JobError                 an attempt failed; becomes the job's `error`
│   ├── TransientError       worth another attempt, perhaps not before `retry_after`
│   │   ├── AttemptTimeout   the handler did not end in time
│   │   ├── RateLimited      somebody's rate limit refused it: burns no attempt, up to a number of times
│   │   └── Unreachable      a service gave no answer of its own: burns no attempt once it is known to be down
│   └── FinalError           another attempt would fail the same way
├── Snooze                   not a failure: run again later, no attempt burnt
├── ServiceError             the platform can't take the request now
│   ├── StoreUnavailable     Redis is away or out of memory
│   ├── QueueFull            too many jobs wait
│   ├── MemoryShort          Redis's memory is nearly full
│   ├── RateExceeded         the key submits too fast
│   └── ShareFull            the key's share of the queue is full
├── UnreadableRecord         what is stored of a job can't be read
├── KeyReused                the idempotency key belongs to another submission
└── JobGone                  the idempotency key's job was erased, or its time is over
"""

from datetime import timedelta

from tandem.shared.quota import Quota

MAX_MESSAGE = 2000


class TandemError(Exception):
    """Base of all errors of the platform."""

    type = "error"
    http_status = 500


class JobError(TandemError):
    """An attempt failed. `type` is part of the contract, `message` is shown to the job's owner."""

    retryable = False

    def __init__(self, message: str, *, type: str | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message[:MAX_MESSAGE])
        self.message = message[:MAX_MESSAGE]
        self.type = type or self.type
        self.retry_after = retry_after


class TransientError(JobError):
    type = "transient"
    retryable = True


class AttemptTimeout(TransientError):
    type = "timeout"


class RateLimited(TransientError):
    type = "rate_limited"


class Unreachable(TransientError):
    """A service gave no answer of its own. `refused`: it never got the request, which is then not at fault.

    `paid`: it may work at the request still. `down` is set where the service is known to be so for all: this is an
    outage, and not the job's failure; `service` is its name then.
    """

    type = "unreachable"

    refused = paid = down = False
    service = ""


class FinalError(JobError):
    type = "failed"


class Snooze(TandemError):
    """Put the job back until `delay` has passed; the attempt does not count.

    `begun`: the job has done something already, so that it can't expire any more. `why`: for what, for the log.
    """

    def __init__(self, delay: timedelta, *, begun: bool = True, why: str = "") -> None:
        super().__init__(f"snoozed for {delay.total_seconds():g} s")
        self.delay = delay
        self.begun = begun
        self.why = why


class ServiceError(TandemError):
    """The platform can't take the request now; `retry_after` is in whole seconds.

    `quota` is what the submitter may submit, if that is limited.
    """

    type = "unavailable"
    http_status = 503

    def __init__(self, message: str, *, retry_after: int = 1, quota: Quota | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.quota = quota


class StoreUnavailable(ServiceError):
    type = "store_unavailable"


class QueueFull(ServiceError):
    type = "queue_full"


class MemoryShort(ServiceError):
    type = "memory_short"


class RateExceeded(ServiceError):
    type = "rate_exceeded"
    http_status = 429


class ShareFull(ServiceError):
    type = "share_full"
    http_status = 429


class UnreadableRecord(TandemError):
    """Another program has spoilt a job's record; `owner` is whose it is, empty if that can't be read either."""

    def __init__(self, why: str, *, owner: str) -> None:
        super().__init__(f"what is stored of this job can't be read: {why}")
        self.owner = owner


class KeyReused(TandemError):
    type = "idempotency_key_reused"
    http_status = 422


class JobGone(TandemError):
    """The idempotency key has made a job that is no more: it is not made again, and can't be shown."""

    type = "job_gone"
    http_status = 410

    def __init__(self) -> None:
        super().__init__("the job of this Idempotency-Key is gone: it was erased, or its time is over")
