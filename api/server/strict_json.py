"""Strict JSON: what Redis, the workers or a provider could not carry is no JSON here."""

import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

# What can become infinity when it is read: a three-digit exponent, or a number as long as the longest float.
OVERFLOWING = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{309}")


def loads(body: bytes) -> Any:
    """Read JSON, but no NaN, lone surrogates and bottomless nesting, which Python's own parser lets through.

    Raises:
        ValueError: says what is wrong and where.

    """
    value = from_json(body, allow_inf_nan=False)
    if OVERFLOWING.search(body) and not all(map(_finite, _walk(value))):
        raise ValueError("a number is out of range")
    return value


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _walk(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
