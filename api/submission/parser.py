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
from tandem.api.submission.idempotency import IdempotencyKey
from tandem.api.submission.options import SubmitOptions
from tandem.shared.tasks.spec import Input

KEY = "Idempotency-Key"
ENCODED = "send the body as it is, without Content-Encoding"
PLAIN = frozenset({"", "identity"})
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
        content = _content(request.headers.get("content-type", ""), body)
        query = _once(request.query_params.multi_items(), errors) if request.scope["query_string"] else {}
        options = _validate(self._query, query, "query", errors)
        headers = _validate(self._headers, _present(request.headers, errors), "header", errors)
        payload: Any = None
        if body:
            payload = _validate(self._payload, content, "body", errors)
        else:
            errors.append(MISSING)
        if errors:
            raise RequestValidationError(errors)
        return Asked(options, headers, payload)


def _content(content_type: str, body: bytes) -> Any:
    """Give what a body of JSON says; of another type it stays bytes, which are no input of any task."""
    media = content_type.partition(";")[0].strip().lower()
    if not body or not (media == "application/json" or (media.startswith("application/") and media.endswith("+json"))):
        return body
    try:
        return strict_json.loads(body)
    except ValueError as error:
        wrong = {"type": "json_invalid", "loc": ("body",), "msg": f"not valid JSON: {error}"}
        raise RequestValidationError([wrong]) from None


def _once(items: Sequence[tuple[str, str]], errors: list[dict[str, Any]]) -> dict[str, str]:
    """Give the parameters of a query; which of two was meant nobody knows."""
    given = dict(items)
    if len(given) < len(items):
        twice = {name for name, count in Counter(name for name, _ in items).items() if count > 1}
        errors += [_repeated("query", name) for name in sorted(twice & set(SubmitOptions.model_fields))]
    return given


def _present(headers: Headers, errors: list[dict[str, Any]]) -> dict[str, str]:
    given = {name: headers[name] for name in HEADERS if name in headers}
    if KEY in given and len(headers.getlist(KEY)) > 1:
        errors.append(_repeated("header", KEY))
    return given


def _repeated(place: str, name: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": (place, name), "msg": "given more than once"}


def _validate(adapter: TypeAdapter[Any], value: Any, place: str, errors: list[dict[str, Any]]) -> Any:
    """Validate, noting what is wrong; attributes are looked at, as FastAPI does, for the wording of the errors."""
    try:
        return adapter.validate_python(value, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors += [{**item, "loc": (place, *item["loc"])} for item in found]
        return None
