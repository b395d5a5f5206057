"""Every error as RFC 9457 `application/problem+json`: the one place that makes an answer of an exception."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from tandem.api.server.quota_headers import rate_headers
from tandem.shared.errors import JobGone, KeyReused, ServiceError

log = logging.getLogger("tandem.api")

MEDIA_TYPE = "application/problem+json"
BUG = "the gateway made a mistake; the request id leads to the log line"
BROKEN_OFF = "the request broke off"


class FieldProblem(BaseModel):
    """What is wrong with a field, a parameter or a header."""

    field: str = Field(description="Where: a path in the body, `query.NAME` or `header.NAME`.")
    message: str = Field(description="What.")


class Problem(BaseModel):
    """RFC 9457; `errors` names the fields of a 422."""

    type: str = Field(default="about:blank", description="Always this: the status says it all.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str | None = Field(default=None, description="What is wrong, of this request.")
    errors: list[FieldProblem] | None = Field(default=None, description="Each field of a 422.")


def describe(status: int) -> dict[str, Any]:
    """Give the OpenAPI entry of an error."""
    return {
        "model": Problem,
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


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


def answer_to(error: Exception) -> Response:
    """Make the answer to whatever was raised; what nobody expected is a mistake of ours."""
    match error:
        case HTTPException():
            detail = None if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
            return problem(error.status_code, detail, headers=dict(error.headers or {}))
        case RequestValidationError():
            return _invalid([_field(item) for item in error.errors()])
        case KeyReused() | JobGone():
            return _spent(error)
        case ServiceError():
            return _unavailable(error)
        case ClientDisconnect():
            return problem(400, BROKEN_OFF)
        case _:
            return problem(500, BUG)


def _invalid(errors: list[dict[str, str]]) -> Response:
    first = f"{errors[0]['field']}: {errors[0]['message']}" if errors else None
    return problem(422, first, errors=errors)


def _field(item: dict[str, Any]) -> dict[str, str]:
    """Name the field; the input is not repeated, it may be huge or secret."""
    where, *path = (str(part) for part in item["loc"])
    field = ".".join(path) if path and where == "body" else ".".join([where, *path])
    return {"field": field, "message": item["msg"].removeprefix("Value error, ")}


def _unavailable(error: ServiceError) -> Response:
    log.warning("%d: %s", error.http_status, error)
    headers = {"Retry-After": str(error.retry_after), **rate_headers(error.quota)}
    return problem(error.http_status, _public(error), headers=headers)


def _spent(error: KeyReused | JobGone) -> Response:
    """Say why an Idempotency-Key makes no job."""
    if isinstance(error, JobGone):
        return problem(error.http_status, str(error))
    return _invalid([{"field": "header.Idempotency-Key", "message": str(error)}])


def _public(error: ServiceError) -> str:
    """Say what a caller may know; Redis's own words may name hosts."""
    return "the job store does not take requests now" if error.type == "store_unavailable" else str(error)


async def _handle(_request: Request, error: Exception) -> Response:  # asynchronous: others are run in threads
    return answer_to(error)


def install(app: FastAPI) -> None:
    """Have the application answer the errors that are expected; `RequestId` sees to the others."""
    for kind in (HTTPException, RequestValidationError, KeyReused, JobGone, ServiceError, ClientDisconnect):
        app.add_exception_handler(kind, _handle)
