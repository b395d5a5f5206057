"""What a provider's HTTP error is: pure, and independent of the SDK's exception classes.

invalid_credentials  final      401, 403
insufficient_quota   final      402, or any error that says that the account is empty
unknown_model        final      404, or the code model_not_found
context_too_long     final      413, or a 4xx, 500 or 502 that says so     ContextTooLong
content_filtered     final      a 4xx, also 403, of a content filter
bad_request          final      any other 4xx                         BadRequest, SchemaRefused
rate_limited         transient  429                                   RateLimited, with the provider's retry_after
provider_unavailable transient  408, 409                              with the provider's retry_after, up to a minute
provider_unavailable transient  5xx                                   Unreachable, with the same

How servers say so is in `wordings.py`, when to come back in `waits.py`.

What follows from them:
- 429: `rate_limit/rate_limited.py` parks the model, for every worker, for `retry_after` or a time that doubles;
  `providers/router.py` asks a fallback if the park is longer than the model's `fallback_after`;
  `shared/jobs/retry.py` puts the job back without burning an attempt (MAX_THROTTLED times). Whoever comes to a parked
  model meanwhile is put back by a Snooze of `rate_limit/limiter.py`, and nothing is sent.
- Unreachable: `rate_limit/rate_limited.py` parks the model as down once jobs in a row got no answer; then fallbacks are
  asked at once, and jobs wait without burning attempts.
- `provider_unavailable`, `invalid_credentials`, `insufficient_quota`, `unknown_model`: `providers/router.py` asks a
  fallback; without one a transient error is retried by the task's policy, a final one fails the job.
- `bad_request`: `providers/session.py` sends it again without what the model can't do, if it names that;
  SchemaRefused: `generation/structured.py` asks in plain words; `context_too_long`: handlers send less.
"""

import json
import re
from collections.abc import Callable, Mapping

from tandem.llm_worker.providers.errors import BadRequest, ContextTooLong, SchemaRefused
from tandem.llm_worker.providers.openai_compatible import wordings
from tandem.llm_worker.providers.openai_compatible.error_response import FAILED, ErrorResponse
from tandem.llm_worker.providers.openai_compatible.waits import retry_after
from tandem.shared.errors import FinalError, JobError, RateLimited, TransientError, Unreachable

SHOWN = 300
Classify = Callable[[ErrorResponse], JobError]
PARAMETERS = re.compile(r"\b(max_completion_tokens|max_tokens|response_format|stream_options|encoding_format)\b")
NO_JSON = "json_validate_failed"  # Groq: the model wrote no JSON, asked for by schema


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
        named = "response_format" in (parameter or "") or "schema" in message.lower() or NO_JSON in error.codes
        of_schema = schema and named
        return (SchemaRefused if of_schema else BadRequest)(message, parameter=parameter)
    if kind:
        return FinalError(message, type=kind)
    wait = retry_after(error)
    if error.status == 429:  # noqa: PLR2004
        return RateLimited(message, retry_after=wait)
    kind_of = TransientError if error.status < 500 else Unreachable  # noqa: PLR2004
    return kind_of(message, type="provider_unavailable", retry_after=wait)


def _final_kind(error: ErrorResponse) -> str | None:
    """Name what makes another attempt pointless, None if nothing does. Words count more than the status."""
    status = error.status
    if status == 402 or _says(error, wordings.NO_MONEY, wordings.NO_MONEY_WORDS):  # noqa: PLR2004
        return "insufficient_quota"
    if status in {400, 413, 422, 429, 500, FAILED} and _is_too_long(error):
        return ContextTooLong.type
    if not 400 <= status < 500 or status in {408, 409, 429}:  # noqa: PLR2004
        return None
    if status == 404 or "model_not_found" in error.codes:  # noqa: PLR2004
        return "unknown_model"
    if _says(error, wordings.FILTERED, wordings.FILTERED_WORDS) or _moderated(error):
        return "content_filtered"
    return "invalid_credentials" if status in {401, 403} else BadRequest.type


def _is_too_long(error: ErrorResponse) -> bool:
    """Tell whether less may pass. A 429 is a limit a minute, unless one request alone is beyond it."""
    if error.status == 429:  # noqa: PLR2004
        said = error.field("message")
        return bool(wordings.BEYOND_THE_MINUTE.search(said)) or _asks_for_more_than_the_limit(said)
    words = wordings.TOO_LONG_WORDS, wordings.TOO_MANY_WORDS
    return error.status == 413 or any(_says(error, wordings.TOO_LONG, each) for each in words)  # noqa: PLR2004


def _asks_for_more_than_the_limit(said: str) -> bool:
    """Compare the two numbers of "Limit 30000, Used 12, Requested 41234": such a request could never pass."""
    limit, requested = (pattern.search(said) for pattern in (wordings.LIMIT, wordings.REQUESTED))
    return bool(limit and requested) and _number(requested) > _number(limit)


def _number(found: re.Match[str] | None) -> int:
    return int(found[1].replace(",", "").replace("_", "")) if found else 0


def _says(error: ErrorResponse, codes: frozenset[str], words: re.Pattern[str]) -> bool:
    return bool(error.codes & codes or words.search(error.field("message")))


def _moderated(error: ErrorResponse) -> bool:
    """Find OpenRouter's word on what was flagged, and Azure's on what its filter found."""
    inner = [value for name in ("metadata", "innererror") if isinstance(value := error.body.get(name), Mapping)]
    return any(part.keys() & {"flagged_input", "reasons", "content_filter_result"} for part in inner)


def _parameter(error: ErrorResponse) -> str | None:
    """Name the parameter that was refused: by `param`, else one of ours that the error's text names."""
    if param := error.field("param"):
        return param
    said = json.dumps(error.body, default=str)
    if named := PARAMETERS.search(said):
        return named[1]
    return "encoding_format" if "base64" in said.lower() else None


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
