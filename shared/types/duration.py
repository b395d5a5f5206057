"""Durations as people write them."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SHORT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ours?)?|d(?:ays?)?)?\s*")


def parse(value: Any) -> Any:
    """`90` (seconds), `30m`, `12h`, `7 days` to a timedelta; anything else is left to pydantic (ISO 8601)."""
    if isinstance(value, str) and (match := SHORT.fullmatch(value)):
        try:
            return timedelta(**{UNITS[(match[2] or "s")[0]]: float(match[1])})
        except OverflowError:
            raise ValueError("the duration is too long") from None
    if isinstance(value, str) and not value.lstrip("+-").startswith("P"):
        raise ValueError("must be a duration such as 30s, 15m, 12h, 7d or P7D")
    return value


def positive(value: timedelta) -> timedelta:
    """Raise ValueError on a negative duration."""
    if value < timedelta(0):
        raise ValueError("a duration can't be negative")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    AfterValidator(positive),
    PlainSerializer(lambda value: f"{value.total_seconds():g}s", return_type=str, when_used="json"),
]
