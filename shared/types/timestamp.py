"""Points in time as the outside writes them: ISO 8601, UTC where no zone is named."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ].*)?")
LOST_PLUS = re.compile(r"(.*[Tt].*) (\d\d:?\d\d)")


def is_date(value: Any) -> bool:
    """Tell whether it begins as a date of ISO 8601 does."""
    return isinstance(value, str) and DATE.fullmatch(value) is not None


def _iso_only(value: Any) -> Any:
    """Refuse what pydantic takes for seconds since 1970; mend a `+` that a query turned into a space."""
    if not is_date(value):
        raise ValueError("must be a time in ISO 8601, such as 2026-12-24T18:00:00Z")
    return LOST_PLUS.sub(r"\1+\2", value)


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_iso_only),
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-24T18:00:00Z"]}),
]
