"""Webhook deliveries as the job book keeps them: claimed under a lease, and settled."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tandem.shared.jobs.model import at
from tandem.shared.store.scripts import Call, ms


class Outcome(StrEnum):
    """What became of one try; a pending one is tried again."""

    DELIVERED = "delivered"
    FAILED = "failed"
    PENDING = "pending"


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


def claim(*, limit: int, lease: timedelta) -> Call[Due]:
    """Claim up to `limit` due deliveries; unsettled, they come due again after `lease`."""

    def parse(answer: Any) -> Due:
        due = None if answer[1] < 0 else timedelta(milliseconds=answer[1])
        return Due([_delivery(item) for item in answer[0]], due)

    return Call("claim_deliveries", [ms(lease), limit], parse)


def settle(delivery: Delivery, verdict: Verdict, *, body: str) -> Call[bool]:
    """Write how a try ended; False if somebody else has claimed it meanwhile."""
    status = "" if verdict.status is None else verdict.status
    args = [delivery.id, delivery.token, verdict.outcome, ms(verdict.delay), body, status, verdict.error]
    return Call("settle_delivery", args, bool)


def _delivery(item: Any) -> Delivery:
    id_, job, event, url, ended, attempt, body, token = item
    return Delivery(
        id_.decode(), job.decode(), event.decode(), url.decode(), at(ended), attempt, body.decode(), token.decode()
    )
