"""Running many jobs again that ended badly, by a filter."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from tandem.shared.jobs.model import Status, at
from tandem.shared.store import commands, listing
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.listing import Filter
from tandem.shared.store.signature import ms
from tandem.shared.types.duration import Duration
from tandem.shared.types.timestamp import Moment, is_date

MOST = 1000
AT_ONCE = 50  # jobs a round trip, so that others' calls pass between
LOOKS = 2000  # stretches of the listing looked at for one request


def _since(value: Any) -> datetime | timedelta:
    kind: TypeAdapter[Any] = TypeAdapter(Moment if is_date(value) else Duration)
    try:
        parsed: datetime | timedelta = kind.validate_python(value)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    return parsed


Since = Annotated[
    datetime | timedelta,
    BeforeValidator(_since),
    WithJsonSchema({"type": "string", "examples": ["24h", "2026-12-24T18:00:00Z"]}),
]


class RetryFilter(BaseModel):
    """Which jobs. A misspelt name is refused: without its filter it would be all of them."""

    model_config = ConfigDict(extra="forbid")

    task: str | None = Field(default=None, description="Only jobs of this task.")
    status: Literal["failed", "cancelled", "expired"] = Field(default="failed", description="How they ended.")
    since: Since | None = Field(default=None, description="Ended since then: ISO 8601, or so long ago: `24h`.")
    limit: int = Field(default=MOST, ge=1, le=MOST, description="So many at most, the newest ones.")


class Retried(BaseModel):
    retried: int = Field(description="Jobs that wait again.")
    skipped: int = Field(description="Jobs that matched and were changed by somebody else meanwhile.")
    more: bool = Field(description="More may match: ask again.")


async def retry_matching(book: AsyncBook, which: RetryFilter, *, max_age: timedelta) -> Retried:
    """Run at most `limit` matching jobs again."""
    status = Status(which.status)
    ended_after = await _ended_after(book, which.since)
    filter_ = Filter(task=which.task or "", status=status, ended_after=ended_after)
    page = listing.Page([], listing.START)
    outcomes: list[Status | None] = []
    for _ in range(LOOKS):
        if page.next is None or len(outcomes) == which.limit:
            break
        page = await book.run(listing.page(filter_, after=page.next, limit=min(AT_ONCE, which.limit - len(outcomes))))
        outcomes += await book.run_all(
            [commands.retry(job_id, only=status, max_age=max_age or None) for job_id in page.ids]
        )
    retried = outcomes.count(status)
    return Retried(retried=retried, skipped=len(outcomes) - retried, more=page.next is not None)


async def _ended_after(book: AsyncBook, since: datetime | timedelta | None) -> int:
    """Give the filter in milliseconds since 1970, by Redis's clock."""
    if isinstance(since, timedelta):
        now = await book.run(commands.now())
        since = now - min(since, now - at(0))
    return ms(since - at(0)) if since else 0
