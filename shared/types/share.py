"""Shares of a whole as people write them."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

BARE = re.compile(r"\s*\d+(?:\.\d+)?\s*")
PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def parse(value: Any) -> Any:
    """`25%` to 0.25; a number is left as it is."""
    if isinstance(value, str) and (match := PERCENT.fullmatch(value)):
        value = float(match[1]) / 100
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number <= 1:  # NaN compares false
        raise ValueError("must be a share such as 25% or 0.25, more than 0 and at most 100%")
    return number


def parse_percentage(value: Any) -> Any:
    """`50%` or `50` to 0.5. A bare number below 1 is refused: it may be meant either way."""
    if isinstance(value, str) and BARE.fullmatch(value):
        if 0 < float(value) < 1:
            raise ValueError("must be a percentage such as 50% or 50")
        value = f"{value.strip()}%"
    return parse(value)


Share = Annotated[float, BeforeValidator(parse), Field(gt=0, le=1)]
Percentage = Annotated[float, BeforeValidator(parse_percentage), Field(gt=0, le=1)]
