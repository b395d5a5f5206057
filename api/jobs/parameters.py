"""Parameters that several endpoints take."""

import re
from typing import Annotated

from fastapi import Path, Query
from pydantic import Field

MAX_WAIT = 60  # seconds

JobId = Annotated[
    str,
    Path(
        max_length=100,
        pattern=r"^[A-Za-z0-9_-]+$",
        examples=["01K5XJ0Q7Z8S6V6N8E3C4D2A1B"],
        description="The job's id.",
    ),
]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Seconds to wait for the job's end.")]
Prefer = Annotated[
    str | None,
    Field(
        description="`wait=N`: answer with the finished job if it ends within N seconds; more than 60 are 60, and"
        " `Preference-Applied` says how many. A preference that can't be read is ignored (RFC 7240)."
    ),
]
WAIT = re.compile(r"(?:^|[;,])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[;,])", re.IGNORECASE)


def preferred_wait(header: str | None) -> int:
    """Read `wait=N` of a `Prefer` header (RFC 7240), at most 60; 0 if there is none: a preference can't be wrong."""
    match = WAIT.search(header or "")
    return min(int(match[1]), MAX_WAIT) if match else 0
