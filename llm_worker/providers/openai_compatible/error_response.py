"""An error as a server sent it, in whatever form: pure.

OpenAI's object under `error`, also in a list (Gemini), as a text (LM Studio, TGI, xAI), bare (vLLM, Cohere), FastAPI's
`detail`, or plain text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic_core import from_json

LONGEST_TEXT = 2000  # of a message; more of a body that is no JSON is a page, not a message
WORDS = ("message", "msg", "detail", "error_message", "error_msg", "error_description", "reason")
FAILED = 502  # of an error in a 200 that doesn't say what it is

# What stands in the place of an HTTP status where an error comes with a 200, or in a stream.
STATUS_OF = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "invalid_argument": 400,
    "exceed_context_size_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "data_inspection_failed": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "insufficient_quota": 402,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
}


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    """An HTTP error as the provider sent it; `body` is its error object, with the text in it under `message`."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], content: bytes) -> Self:
        """Decode a body."""
        try:
            body = from_json(content)
        except ValueError:
            text = content.decode(errors="replace").strip()
            body = text if len(text) <= LONGEST_TEXT and not text.startswith("<") else {}
        return cls(status=status, headers=headers, body=_error_object(body))

    def field(self, name: str) -> str:
        """Read a field of the error object as text, empty if it is missing."""
        value = self.body.get(name)
        return "" if value is None or isinstance(value, (dict, list)) else str(value)

    @property
    def codes(self) -> frozenset[str]:
        """What the error calls itself, in lower case: servers have several fields for that."""
        return frozenset(
            value.lower() for name in ("code", "type", "status", "error_type") if (value := self.field(name))
        )


def error_in_body(body: object, headers: Mapping[str, str]) -> ErrorResponse | None:
    """Find the error that comes with HTTP 200, instead of an answer or beside half of one."""
    if not isinstance(body, Mapping):
        return None
    bare = "error" in {body.get("object"), body.get("type")} or (
        "detail" in body and not body.keys() & {"choices", "data"}
    )
    if not _is_told(body.get("error")) and not bare:
        return None
    found = ErrorResponse(status=FAILED, headers=headers, body=_error_object(body))
    return ErrorResponse(status=_status(found), headers=headers, body=found.body)


def _is_told(error: object) -> bool:
    """Tell an error from the empty object that some gateways put beside every answer."""
    return any(error.values()) if isinstance(error, Mapping) else bool(error)


def _status(error: ErrorResponse) -> int:
    said = [int(code) for code in error.codes if code.isascii() and code.isdigit() and len(code) == 3]  # noqa: PLR2004
    known = [*(code for code in said if code >= 400), *(STATUS_OF[code] for code in error.codes if code in STATUS_OF)]  # noqa: PLR2004
    return min((status for status in known if status < 600), default=FAILED)  # noqa: PLR2004


def _error_object(body: object) -> dict[str, Any]:
    """Find the error in a body; a text is its message, and what stands beside `error` counts as in it."""
    if isinstance(body, list) and body and isinstance(body[0], Mapping):
        body = body[0]
    if not isinstance(body, Mapping):
        return {"message": body} if isinstance(body, str) else {}
    inner = body.get("error") or body.get("errors")
    beside = {name: value for name, value in body.items() if name not in {"error", "errors"}}
    if inner:
        around = {name: value for name, value in beside.items() if (name, value) != ("type", "error")}
        return around | _error_object(inner) if isinstance(inner, (str, Mapping, list)) else around
    message = next((text for name in WORDS if (text := _text(body.get(name)))), "")
    param = body.get("param") or _refused(body.get("detail"))
    return beside | {"message": message} | ({"param": param} if param else {})


def _text(value: object) -> str:
    """Give a message as text: it may be one, or a list of FastAPI's faults, of which the input is left out."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return next((text for name in WORDS if (text := _text(value.get(name)))), "")
    return "; ".join(": ".join(filter(None, (_place(fault), _text(fault)))) for fault in _faults(value))


def _refused(detail: object) -> str:
    return next((place.removeprefix("body.") for fault in _faults(detail) if (place := _place(fault))), "")


def _faults(detail: object) -> Iterator[Mapping[str, Any]]:
    yield from (fault for fault in detail if isinstance(fault, Mapping)) if isinstance(detail, list) else ()


def _place(fault: Mapping[str, Any]) -> str:
    loc = fault.get("loc")
    return ".".join(map(str, loc)) if isinstance(loc, list) else ""
