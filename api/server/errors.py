"""What an endpoint refuses: each error knows its HTTP status, and whoever may raise it declares so."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

F = TypeVar("F", bound=Callable[..., Any])


class ApiError(HTTPException):
    """The request is refused; `detail` says why."""

    http_status: ClassVar[int]

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(self.http_status, detail, headers)


class BadRequest(ApiError):
    http_status = HTTPStatus.BAD_REQUEST


class Unauthorized(ApiError):
    http_status = HTTPStatus.UNAUTHORIZED


class Forbidden(ApiError):
    http_status = HTTPStatus.FORBIDDEN


class NotFound(ApiError):
    http_status = HTTPStatus.NOT_FOUND


class Conflict(ApiError):
    http_status = HTTPStatus.CONFLICT


class BodyTooLarge(ApiError):
    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(ApiError):
    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class RangeNotSatisfiable(ApiError):
    http_status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


class Invalid(RequestValidationError):
    """One parameter is wrong; `place` is query or header."""

    http_status: ClassVar[int] = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, place: str, name: str, message: str) -> None:
        super().__init__([{"type": "value_error", "loc": (place, name), "msg": message}])


def raises(*errors: type[Exception]) -> Callable[[F], F]:
    """Declare what an endpoint or a dependency may raise: the OpenAPI entries of its routes follow from it.

    Each error has an `http_status`.
    """

    def declare(function: F) -> F:
        function.raises = errors  # type: ignore[attr-defined]  # read by `declared`
        return function

    return declare


def declared(function: Callable[..., Any]) -> Iterable[type[Exception]]:
    """Give what `raises` says of a function."""
    errors: tuple[type[Exception], ...] = getattr(function, "raises", ())
    return errors
