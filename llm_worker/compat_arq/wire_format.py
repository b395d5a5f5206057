"""What plain arq keeps of a job and its result, as JSON: nothing is pickled.

Give both functions to `arq.create_pool`, so that `arq.jobs.Job` reads what this platform writes. A failure arrives
there as arq's `SerializationError` with its text, a cancelled job as `CancelledError`: what arq itself would raise.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

CANCELLED = "cancelled: "


def job_serializer(data: dict[str, Any]) -> bytes:
    """Write arq's record of a job or a result. Raises TypeError or ValueError for what JSON can't hold."""
    return json.dumps(data, default=_error_text, allow_nan=False).encode()


def job_deserializer(content: bytes) -> dict[str, Any]:
    """Read arq's record of a job or a result. Raises ValueError if it is not a JSON object."""
    data = json.loads(content)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - arq wants any error
    if data.get("s") is False and str(data.get("r")).startswith(CANCELLED):
        data["r"] = asyncio.CancelledError(data["r"])
    return data


def _error_text(value: Any) -> str:
    """What a plain arq function raised."""
    if isinstance(value, asyncio.CancelledError):
        return f"{CANCELLED}{value}"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def payload(args: list[Any], kwargs: dict[str, Any], fields: Iterable[str]) -> str:
    """Turn a call's arguments into a task's input: keywords, one dict, or positions in the order of its fields.

    What does not fit is kept under a name that no input has, so that validation says so.
    """
    if len(args) == 1 and isinstance(args[0], dict) and not kwargs:
        return json.dumps(args[0])
    names = list(fields)
    body = dict(zip(names, args, strict=False)) | kwargs
    if len(args) > len(names):
        body["*args"] = args[len(names) :]
    return json.dumps(body)
