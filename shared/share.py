"""Shares of a whole as people write them."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

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


Share = Annotated[float, BeforeValidator(parse), Field(gt=0, le=1)]
