"""Webhook deliveries as the job book keeps them: claimed under a lease, and settled."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from tandem.shared.store.scripts import DELIVERING, PENDING, Call, script


class Outcome(StrEnum):
    """What became of one try; a pending one is tried again."""

    DELIVERED = "delivered"
    FAILED = "failed"
    PENDING = PENDING


@dataclass(frozen=True)
class Delivery:
    """The right to try one delivery; `at` is when its job ended, `body` what an earlier try has sent."""

    id: str
    job: str
    event: str
    url: str
    at: datetime
    attempt: int
    body: str
    token: str


@dataclass(frozen=True)
class Due:
    """Claimed deliveries, and when the next one is due."""

    deliveries: list[Delivery]
    next_due: timedelta | None


@dataclass(frozen=True)
class Verdict:
    """How a try ended: the receiver's HTTP status if it answered, what went wrong if anything."""

    outcome: Outcome
    status: int | None = None
    error: str = ""
    delay: timedelta = timedelta(0)


def claim(*, limit: int, lease: timedelta, places: int = 0) -> Call[Due]:
    """Claim up to `limit` due deliveries; unsettled, they come due again after `lease`.

    Owners take turns, and each one's hosts. At once one owner has 8 tries at most, 4 of them to one host, in all
    processes together; while nobody else has something to deliver, half of `places` and a quarter.
    """
    return _claim(limit=limit, lease=lease, places=places, claim=uuid4().hex)


@script("webhooks/claim_deliveries", library=DELIVERING)
def _claim(*, limit: int, lease: timedelta, places: int, claim: str) -> Due: ...


def settle(delivery: Delivery, verdict: Verdict, *, body: str) -> Call[bool]:
    """Write how a try ended; False if somebody else has claimed it meanwhile."""
    return _settle(
        id=delivery.id,
        token=delivery.token,
        outcome=verdict.outcome,
        delay=verdict.delay,
        body=body,
        response_status=verdict.status,
        problem=verdict.error or None,
    )


@script("webhooks/settle_delivery", library=DELIVERING)
def _settle(
    *,
    id: str,
    token: str,
    outcome: str,
    delay: timedelta,
    body: str,
    response_status: int | None,
    problem: str | None,
) -> bool: ...
