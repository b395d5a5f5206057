"""What a submission asks for, read from its query, headers and body: the one reader of all three."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from tandem.api.jobs.parameters import Prefer
from tandem.api.server import strict_json
from tandem.api.server.errors import UnsupportedMediaType
from tandem.api.server.routing import SHOWN, no_such_parameter
from tandem.api.submission.idempotency import IdempotencyKey
from tandem.api.submission.options import SubmitOptions
from tandem.shared.tasks.spec import Input

KEY = "Idempotency-Key"
ENCODED = "send the body as it is, without Content-Encoding"
PLAIN = frozenset({"", "identity"})
NOT_JSON = "must be application/json: the body is read as nothing else"
TWICE = "given more than once"
OPTIONS = frozenset(SubmitOptions.model_fields)
MISSING = {"type": "missing", "loc": ("body",), "msg": "Field required"}


class SubmitHeaders(BaseModel):
    """The headers of a submit."""

    prefer: Prefer = None
    idempotency_key: IdempotencyKey = Field(default=None, alias=KEY)


HEADERS = [field.alias or name for name, field in SubmitHeaders.model_fields.items()]


class Asked(NamedTuple):
    """A submission, understood."""

    options: SubmitOptions
    headers: SubmitHeaders
    payload: Input


class Parser:
    """Reads the submissions of one task."""

    def __init__(self, payload: type[Input]) -> None:
        self._query = TypeAdapter(SubmitOptions)
        self._headers = TypeAdapter(SubmitHeaders)
        self._payload = TypeAdapter(payload)

    def parse(self, request: Request, body: bytes) -> Asked:
        """Read a request.

        Raises:
            UnsupportedMediaType: the body is compressed.
            RequestValidationError: names all that is wrong in query, headers and body.

        """
        if request.headers.get("content-encoding", "identity").strip().lower() not in PLAIN:
            raise UnsupportedMediaType(
                "send the body as it is, without Content-Encoding", {"Accept-Encoding": "identity"}
            )
        errors: list[dict[str, Any]] = []
        content = _content(request.headers.get("content-type", ""), body, errors)
        query = _known(request.query_params.multi_items(), errors) if request.scope["query_string"] else {}
        options = _validate(self._query, query, "query", errors)
        headers = _validate(self._headers, _present(request.headers, errors), "header", errors)
        payload: Any = None
        if content is not None:
            payload = _validate(self._payload, content, "body", errors)
        if errors:
            raise RequestValidationError(errors)
        return Asked(options, headers, payload)


def _content(content_type: str, body: bytes, errors: list[dict[str, Any]]) -> Any:
    """Give what a body of JSON says; of another type, or without any, nothing."""
    media = content_type.partition(";")[0].strip().lower()
    if not body:
        errors.append(MISSING)
    elif media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        errors.append(_wrong("header", "Content-Type", NOT_JSON))
    else:
        return _parsed(body)
    return None


def _parsed(body: bytes) -> Any:
    try:
        return strict_json.loads(body)
    except ValueError as error:
        wrong = {"type": "json_invalid", "loc": ("body",), "msg": f"not valid JSON: {error}"}
        raise RequestValidationError([wrong]) from None


def _known(items: Sequence[tuple[str, str]], errors: list[dict[str, Any]]) -> dict[str, str]:
    """Give the parameters of a query that there are; which of two was meant nobody knows."""
    for name, count in Counter(name for name, _ in items).items():
        if name not in OPTIONS:
            errors.append(_wrong("query", name[:SHOWN], no_such_parameter(OPTIONS)))
        elif count > 1:
            errors.append(_wrong("query", name, TWICE))
    return {name: value for name, value in items if name in OPTIONS}


def _present(headers: Headers, errors: list[dict[str, Any]]) -> dict[str, str]:
    given = {name: headers[name] for name in HEADERS if name in headers}
    if KEY in given and len(headers.getlist(KEY)) > 1:
        errors.append(_wrong("header", KEY, TWICE))
    return given


def _wrong(place: str, name: str, message: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": (place, name), "msg": message}


def _validate(adapter: TypeAdapter[Any], value: Any, place: str, errors: list[dict[str, Any]]) -> Any:
    """Validate, noting what is wrong; attributes are looked at, as FastAPI does, for the wording of the errors."""
    try:
        return adapter.validate_python(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors += [{**item, "loc": (place, *item["loc"])} for item in found]
        return None
