"""What a provider's HTTP error is: pure, and independent of the SDK's exception classes.

invalid_credentials  final      401, 403
insufficient_quota   final      402, or a 429 that says that the account is empty
unknown_model        final      404, or the code model_not_found
context_too_long     final      413, or a 4xx that says so            ContextTooLong
content_filtered     final      a 4xx with the code of a content filter
bad_request          final      any other 4xx                         BadRequest, SchemaRefused
rate_limited         transient  429                                   RateLimited, with the provider's retry_after
provider_unavailable transient  408, 409, 5xx                         with the provider's retry_after

What follows from them:
- 429: `rate_limit/rate_limited.py` parks the model, for every worker, for `retry_after` or a time that doubles;
  `providers/router.py` asks a fallback if the park is longer than the model's `fallback_after`;
  `shared/jobs/retry.py` puts the job back without burning an attempt (MAX_THROTTLED times). Whoever comes to a parked
  model meanwhile is put back by a Snooze of `rate_limit/limiter.py`, and nothing is sent.
- `provider_unavailable`, `invalid_credentials`, `insufficient_quota`, `unknown_model`: `providers/router.py` asks a
  fallback; without one a transient error is retried by the task's policy, a final one fails the job.
- `bad_request`: `providers/session.py` sends it again without what the model can't do, if it names that;
  SchemaRefused: `generation/structured.py` asks in plain words; `context_too_long`: handlers send less.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Self

from pydantic_core import from_json

from tandem.llm_worker.providers.errors import BadRequest, ContextTooLong, SchemaRefused
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
Classify = Callable[["ErrorResponse"], JobError]
PARAMETERS = re.compile(r"\b(max_completion_tokens|max_tokens|response_format|stream_options)\b")


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    """An HTTP error as the provider sent it; `body` is the decoded error object, or text that is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: object

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], content: bytes) -> Self:
        """Decode a body: OpenAI's error object is under `error`, other servers send it bare."""
        try:
            body = from_json(content)
        except ValueError:
            body = content.decode(errors="replace").strip()
        return cls(status=status, headers=headers, body=body.get("error", body) if isinstance(body, dict) else body)

    def field(self, name: str) -> str:
        """Read a field of the error object as text, empty if it is missing."""
        value = self.body.get(name) if isinstance(self.body, Mapping) else None
        return "" if value is None or isinstance(value, (dict, list)) else str(value)


def classify(error: ErrorResponse, *, private: tuple[str, ...], schema: bool = False) -> JobError:
    """Decide what an HTTP error means; `private` are texts that its message must not repeat.

    `schema` tells that a JSON Schema was sent.
    """
    message = describe(error, private)
    kind = _final_kind(error)
    if kind == ContextTooLong.type:
        return ContextTooLong(message)
    if kind == BadRequest.type:
        parameter = _parameter(error)
        of_schema = schema and ("response_format" in (parameter or "") or "schema" in message.lower())
        return (SchemaRefused if of_schema else BadRequest)(message, parameter=parameter)
    if kind:
        return FinalError(message, type=kind)
    wait = retry_after(error.headers)
    if error.status == 429:  # noqa: PLR2004
        return RateLimited(message, retry_after=wait)
    return TransientError(message, type="provider_unavailable", retry_after=wait)


def _final_kind(error: ErrorResponse) -> str | None:
    """Name what makes another attempt pointless, None if nothing does."""
    status, codes = error.status, {error.field("code"), error.field("type")}
    if status == 402 or (status == 429 and codes & NO_MONEY):  # noqa: PLR2004
        return "insufficient_quota"
    if not 400 <= status < 500 or status in {408, 409, 429}:  # noqa: PLR2004
        return None
    if status == 404 or "model_not_found" in codes:  # noqa: PLR2004
        return "unknown_model"
    if status in {401, 403}:
        return "invalid_credentials"
    if status == 413 or codes & TOO_LONG or TOO_LONG_WORDS.search(error.field("message")):  # noqa: PLR2004
        return ContextTooLong.type
    return "content_filtered" if codes & FILTERED else BadRequest.type


def _parameter(error: ErrorResponse) -> str | None:
    """Name the parameter that was refused: by `param`, else one of ours that the error's text names."""
    if param := error.field("param"):
        return param
    named = PARAMETERS.search(json.dumps(error.body, default=str))
    return named[1] if named else None


def describe(error: ErrorResponse, private: tuple[str, ...]) -> str:
    """Say cause, status and request id. A message that quotes the prompt or the key is left out."""
    said = error.field("message")
    # What a provider says of a refused key quotes it, in part.
    if error.status in {401, 403} or quotes(said, private):
        said = ""
    parts = [f"the provider answered HTTP {error.status}"]
    parts += [f"{name} {value[:80]}" for name in ("code", "param") if (value := error.field(name))]
    return ", ".join(parts) + request_id(error.headers) + (f": {said[:SHOWN]}" if said else "")


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


def error_in_body(body: Any, headers: Mapping[str, str]) -> ErrorResponse | None:
    """Find the error that some gateways send with HTTP 200: an `error` object instead of an answer."""
    found = body.get("error") if isinstance(body, dict) else None
    if not isinstance(found, dict):
        return None
    code = found.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 502  # noqa: PLR2004
    return ErrorResponse(status=status, headers=headers, body=found)
