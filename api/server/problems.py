"""Every error as RFC 9457 `application/problem+json`."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tandem.api.server.quota_headers import rate_headers
from tandem.shared.errors import KeyReused, ServiceError

log = logging.getLogger("tandem.api")

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457; `errors` names the fields of a 422."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {
        "model": Problem,
        "description": HTTPStatus(code).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Give the OpenAPI entries of these errors."""
    return {code: RESPONSES[code] for code in codes}


def problem(
    status: int,
    detail: str | None = None,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Make the answer."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def invalid(place: str, name: str, message: str) -> RequestValidationError:
    """Make a 422 that names one parameter; `place` is query or header."""
    return RequestValidationError([{"type": "value_error", "loc": (place, name), "msg": message}])


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    detail = None if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
    return problem(error.status_code, detail, headers=dict(error.headers or {}))


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    errors = [_field(item) for item in error.errors()]
    first = f"{errors[0]['field']}: {errors[0]['message']}" if errors else None
    return problem(422, first, errors=errors)


def _field(item: dict[str, Any]) -> dict[str, str]:
    """Name the field; the input is not repeated, it may be huge or secret."""
    where, *path = (str(part) for part in item["loc"])
    if item["type"] == "json_invalid":
        return {"field": where, "message": f"not valid JSON: {item['ctx']['error']}"}
    field = ".".join(path) if path and where == "body" else ".".join([where, *path])
    return {"field": field, "message": item["msg"].removeprefix("Value error, ")}


async def _service(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101 - registered for it
    log.warning("%d: %s", error.http_status, error)
    headers = {"Retry-After": str(error.retry_after), **rate_headers(error.quota)}
    return problem(error.http_status, _public(error), headers=headers)


async def _reused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, KeyReused)  # noqa: S101 - registered for it
    field = {"field": "header.Idempotency-Key", "message": str(error)}
    return problem(error.http_status, f"{field['field']}: {error}", errors=[field])


def _public(error: ServiceError) -> str:
    """Say what a caller may know; Redis's own words may name hosts."""
    return "the job store does not take requests now" if error.type == "store_unavailable" else str(error)


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ServiceError, _service)
    app.add_exception_handler(KeyReused, _reused)
