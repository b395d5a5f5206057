"""What a key may submit, as its bucket of submissions stands."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Quota:
    """`limit` submissions a minute; `left` of them may come at once, None if the bucket was not looked at.

    The bucket is full again in `full_in`.
    """

    limit: int
    left: int | None = None
    full_in: timedelta = timedelta(0)
