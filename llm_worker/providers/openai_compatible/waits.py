"""When a provider says that it will take requests again: pure.

In this order: `retry-after-ms`, `retry-after` (RFC 9110, seconds or a date), Google's RetryInfo, then for a 429 the
`x-ratelimit-reset-…` of what has run out (OpenAI's durations, seconds, times since 1970 or ISO 8601), at last a
sentence like "try again in 6s".
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tandem.llm_worker.providers.openai_compatible.error_response import ErrorResponse

LONGEST_WAIT = timedelta(days=1)  # for a limit
LONGEST_FAULT = timedelta(minutes=1)  # who is broken or overloaded knows no better than we when it will be well
LIMITED = 429
TIMES = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|h|m(?!illi)|s)", re.ASCII)
DURATION = re.compile(rf"(?:{TIMES.pattern})+", re.ASCII)
UNITS = {"h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1), "ms": timedelta(milliseconds=1)}
SENTENCE = re.compile(rf"(?:try again|retry)(?: in| after) ((?:{TIMES.pattern})+)", re.IGNORECASE | re.ASCII)
RESET = re.compile(
    r"(?:x-)?ratelimit-reset(?:-(?P<kind>.+))?|anthropic-ratelimit-(?P<other>.+)-reset",
)
SINCE_1970 = 1e9  # a number from here on is a time, in seconds since 1970, or in milliseconds


def retry_after(error: ErrorResponse) -> timedelta | None:
    """Read the provider's word on when to come back; None if it has none.

    At most LONGEST_WAIT for a limit, LONGEST_FAULT for what is no limit.
    """
    headers = error.headers
    said = [
        _number(headers.get("retry-after-ms"), UNITS["ms"]),
        _number(headers.get("retry-after"), UNITS["s"]),
        _date(headers.get("retry-after")),
        _duration(headers.get("retry-after", "")),
        _retry_info(error.body),
    ]
    if error.status == LIMITED:
        said += [_reset(headers), _sentence(error.field("message"))]
    wait = next((wait for wait in said if wait is not None), None)
    return wait if wait is None or error.status == LIMITED else min(wait, LONGEST_FAULT)


def _number(value: str | None, unit: timedelta) -> timedelta | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    most = LONGEST_WAIT / unit
    return unit * min(number, most) if number >= 0 else None  # NaN compares false


def _date(value: str | None) -> timedelta | None:
    try:
        return _until(parsedate_to_datetime(value or ""))
    except (ValueError, OverflowError):
        return None


def _until(moment: datetime) -> timedelta:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - datetime.now(UTC), timedelta()), LONGEST_WAIT)


def _duration(value: str) -> timedelta | None:
    """Read what Go writes: 6m0s, 7.66s, 20ms."""
    if not DURATION.fullmatch(value):
        return None
    seconds = sum(float(number) * UNITS[unit].total_seconds() for number, unit in TIMES.findall(value))
    return min(seconds, LONGEST_WAIT.total_seconds()) * UNITS["s"]


def _retry_info(body: Mapping[str, Any]) -> timedelta | None:
    """Read google.rpc.RetryInfo among an error's details."""
    details = body.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and (wait := _duration(delay)) is not None:
            return wait
    return None


def _reset(headers: Mapping[str, str]) -> timedelta | None:
    """Wait for what has run out; if all have something left, it was too little, and of tokens."""
    waits = {kind: wait for kind, value in _resets(headers) if (wait := _moment(value)) is not None}
    gone = [wait for kind, wait in waits.items() if _is_gone(headers, kind)]
    tokens = [wait for kind, wait in waits.items() if "token" in kind]
    return max(gone or tokens, default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if found := RESET.fullmatch(name.lower()):
            yield found["kind"] or found["other"] or "", value.strip()


def _is_gone(headers: Mapping[str, str], kind: str) -> bool:
    suffix = f"-{kind}" if kind else ""
    names = (f"x-ratelimit-remaining{suffix}", f"ratelimit-remaining{suffix}", f"anthropic-ratelimit{suffix}-remaining")
    left = next((value for name in names if (value := headers.get(name)) is not None), "0")
    return left.strip().partition(".")[0] in {"", "0"} or left.startswith("-")


def _moment(value: str) -> timedelta | None:
    """Read a duration, seconds, or a time."""
    if (wait := _duration(value)) is not None:
        return wait
    try:
        number = float(value)
    except ValueError:
        return _iso(value)
    if number < SINCE_1970:
        return _number(value, UNITS["s"])
    return _since_1970(number)


def _since_1970(number: float) -> timedelta | None:
    try:
        moment = datetime.fromtimestamp(number if number < 1e11 else number / 1000, UTC)  # noqa: PLR2004 - year 5138
    except (ValueError, OverflowError, OSError):
        return None
    return _until(moment)


def _iso(value: str) -> timedelta | None:
    try:
        return _until(datetime.fromisoformat(value))
    except ValueError:
        return None


def _sentence(message: str) -> timedelta | None:
    found = SENTENCE.search(message)
    return _duration(found[1].lower()) if found else None
