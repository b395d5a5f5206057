"""What follows from a provider's HTTP error: pure, and independent of the SDK's exception classes.

invalid_credentials  final      401, 403
insufficient_quota   final      402, or a 429 that says that the account is empty
unknown_model        final      404, or the code model_not_found
context_too_long     final      413, or a 4xx that says so            ContextTooLong
content_filtered     final      a 4xx with the code of a content filter
bad_request          final      any other 4xx                         BadRequest
rate_limited         transient  429                                   RateLimited, with the provider's retry_after
provider_unavailable transient  408, 409, 5xx                         with the provider's retry_after
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tandem.llm_worker.providers.errors import BadRequest, ContextTooLong
from tandem.shared.errors import FinalError, JobError, RateLimited, TransientError

LONGEST_WAIT = timedelta(days=1)
SHOWN = 300

TOO_LONG = frozenset(
    {
        "context_length_exceeded",
        "max_tokens_per_request",
        "request_too_large",
        "string_above_max_length",
        "array_above_max_length",
    }
)
# Codes come first; these sentences are for servers that send none (vLLM, Anthropic, OpenAI's embeddings).
TOO_LONG_WORDS = re.compile(
    r"maximum context length|context window|(prompt|input) is too long|maximum input length"
    r"|max(imum)? \d+ tokens per request|longer than the maximum model length|exceeds? the context",
    re.IGNORECASE,
)
FILTERED = frozenset({"content_filter", "content_policy_violation"})
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
PARAMETERS = ("max_completion_tokens", "response_format", "stream_options")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An HTTP error as the provider sent it; `body` is the decoded error object, if it was JSON."""

    status: int
    headers: Mapping[str, str]
    body: object

    def field(self, name: str) -> str:
        """Read a field of the error object as text, empty if it is missing."""
        value = self.body.get(name) if isinstance(self.body, Mapping) else None
        return "" if value is None or isinstance(value, (dict, list)) else str(value)


def to_error(refusal: Refusal, *, private: tuple[str, ...]) -> JobError:
    """Decide what an HTTP error means; `private` are texts that its message must not repeat."""
    message = describe(refusal, private)
    kind = _final_kind(refusal)
    if kind == ContextTooLong.type:
        return ContextTooLong(message)
    if kind == BadRequest.type:
        return BadRequest(message, parameter=_parameter(refusal))
    if kind:
        return FinalError(message, type=kind)
    wait = retry_after(refusal.headers)
    if refusal.status == 429:  # noqa: PLR2004
        return RateLimited(message, retry_after=wait)
    return TransientError(message, type="provider_unavailable", retry_after=wait)


def _final_kind(refusal: Refusal) -> str | None:
    """Name what makes another attempt pointless, None if nothing does."""
    status, codes = refusal.status, {refusal.field("code"), refusal.field("type")}
    if status == 402 or (status == 429 and codes & NO_MONEY):  # noqa: PLR2004
        return "insufficient_quota"
    if not 400 <= status < 500 or status in {408, 409, 429}:  # noqa: PLR2004
        return None
    if status == 404 or "model_not_found" in codes:  # noqa: PLR2004
        return "unknown_model"
    if status in {401, 403}:
        return "invalid_credentials"
    if status == 413 or codes & TOO_LONG or TOO_LONG_WORDS.search(refusal.field("message")):  # noqa: PLR2004
        return ContextTooLong.type
    return "content_filtered" if codes & FILTERED else BadRequest.type


def _parameter(refusal: Refusal) -> str | None:
    """Name the parameter that was refused: by `param`, else one of ours that the error's text names."""
    if param := refusal.field("param"):
        return param
    text = json.dumps(refusal.body, default=str)
    return next((name for name in PARAMETERS if name in text), None)


def describe(refusal: Refusal, private: tuple[str, ...]) -> str:
    """Say cause, status and request id. A message that quotes the prompt or the key is left out."""
    said = refusal.field("message")
    # What a provider says of a refused key quotes it, in part.
    if refusal.status in {401, 403} or quotes(said, private):
        said = ""
    parts = [f"the provider answered HTTP {refusal.status}"]
    parts += [f"{name} {value[:80]}" for name in ("code", "param") if (value := refusal.field(name))]
    return ", ".join(parts) + request_id(refusal.headers) + (f": {said[:SHOWN]}" if said else "")


def request_id(headers: Mapping[str, str]) -> str:
    """Name the provider's request id for the end of a message, empty if it sent none."""
    found = headers.get("x-request-id", headers.get("request-id", ""))
    return f", request id {found[:80]}" if found else ""


def quotes(said: str, private: tuple[str, ...], width: int = 16) -> bool:
    """Tell whether `said` repeats a short private text, or a stretch of 2 * `width` - 1 of a longer one."""
    windows = [said[start : start + width] for start in range(0, len(said) - width + 1, width)]
    return any(
        (width // 2 <= len(text) and text in said) or any(window in text for window in windows) for text in private
    )


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read the provider's word on when to come back: `retry-after-ms`, else `retry-after` (RFC 9110)."""
    wait = _number(headers.get("retry-after-ms"), timedelta(milliseconds=1))
    if wait is None:
        wait = _number(headers.get("retry-after"), timedelta(seconds=1))
    if wait is None:
        wait = _date(headers.get("retry-after"))
    return wait


def _number(value: str | None, unit: timedelta) -> timedelta | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    most = LONGEST_WAIT / unit
    return unit * min(number, most) if number >= 0 else None  # NaN compares false


def _date(value: str | None) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - datetime.now(UTC), timedelta()), LONGEST_WAIT)


def embedded(body: Any, headers: Mapping[str, str]) -> Refusal | None:
    """Find the error that some gateways send with HTTP 200: an `error` object instead of an answer."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502  # noqa: PLR2004
    return Refusal(status=status, headers=headers, body=error)
