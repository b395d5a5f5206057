"""The short way for a good request: FastAPI's way costs more than all of our work on it.

FastAPI solves dependencies anew for each request and holds two exit stacks open meanwhile. A submission needs none of
that when nothing is left to decide: a known key, no query, a JSON body that is valid. Everything else, and every
error, goes FastAPI's own way, so that there is one place that makes errors.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_args, get_type_hints

from fastapi import APIRouter, Request, Response, params
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.api.auth.keys import authenticate, bearer, require_admin
from tandem.api.server.strict_json import StrictRequest, StrictRoute
from tandem.shared.config.api_keys import ApiKey

Reader = Callable[[Request, ApiKey], Awaitable[Any]]


class LeanRoute(StrictRoute):
    """A route with a body that can answer good requests by itself; `ShortWay` asks it to.

    Its endpoint may take the body, the caller, a model of query parameters that all have defaults, headers, and
    dependencies on nothing but these.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        required = {depends.dependency for depends in options.get("dependencies") or ()}
        if unknown := required - {authenticate, require_admin}:
            raise TypeError(f"{path}: the short way knows nothing of {unknown}")
        self._for_admins = require_admin in required
        self._body, self._body_type = _body(endpoint)
        self._readers = _readers(endpoint, besides=self._body)

    async def answer(self, request: StrictRequest) -> Response | None:
        """Give the answer, or None if FastAPI is to make it. What the endpoint raises, this raises."""
        caller = await authenticate(request, await bearer(request))
        if self._for_admins:
            await require_admin(caller)
        try:
            await request.body()  # before the turn: a slow caller must hold up nobody
        except ClientDisconnect:
            return None
        async with request.app.state.book.turns.turn():
            return await self._answer(request, caller)

    async def _answer(self, request: StrictRequest, caller: ApiKey) -> Response | None:
        try:
            values = {name: await read(request, caller) for name, read in self._readers.items()}
            values[self._body] = self._body_type.validate_python(await request.json())
        except (ValidationError, json.JSONDecodeError):
            return None
        response: Response = await self.endpoint(**values)
        return response


class ShortWay:
    """Hand good requests to their `LeanRoute`, everything else to the application, with its body unread."""

    def __init__(self, app: ASGIApp, *, router: APIRouter, handlers: Mapping[Any, Any]) -> None:
        self._app = app
        self._routes = {route.path: route for route in router.routes if isinstance(route, LeanRoute)}
        # What the endpoints raise becomes the same answers as under the application.
        self._lean = ExceptionMiddleware(self._try, handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = scope["type"] == "http" and scope["path"] in self._routes and _is_plain(scope)
        await (self._lean if plain else self._app)(scope, receive, send)

    async def _try(self, scope: Scope, receive: Receive, send: Send) -> None:
        read: list[Message] = []

        async def noted() -> Message:
            message = await receive()
            read.append(message)
            return message

        scope["route"] = route = self._routes[scope["path"]]
        if response := await route.answer(StrictRequest(scope, noted)):
            await response(scope, receive, send)
            return

        async def again() -> Message:
            return read.pop(0) if read else await receive()

        await self._app(scope, again, send)


def _is_plain(scope: Scope) -> bool:
    """Tell whether it is a POST of JSON without query parameters."""
    if scope["method"] != "POST" or scope["query_string"]:
        return False
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return kinds == [b"application/json"]


def _body(endpoint: Callable[..., Any]) -> tuple[str, TypeAdapter[Any]]:
    for name, hint in get_type_hints(endpoint, include_extras=True).items():
        if any(isinstance(note, params.Body) for note in get_args(hint)[1:]):
            return name, TypeAdapter(get_args(hint)[0])
    raise TypeError("the endpoint has no body")


def _readers(function: Callable[..., Any], *, besides: str = "") -> dict[str, Reader]:
    """Say how to read each parameter of a function. Raises TypeError where only FastAPI can."""
    hints = get_type_hints(function, include_extras=True)
    given = inspect.signature(function).parameters
    return {name: _reader(name, hints[name], given[name].default) for name in given if name != besides}


def _reader(name: str, hint: Any, default: Any) -> Reader:
    if hint is Request:
        return _request
    kind, *notes = get_args(hint) or (hint,)
    for note in notes:
        if isinstance(note, params.Depends):
            return _caller if note.dependency is authenticate else _dependency(note.dependency)
        if isinstance(note, params.Header):
            return _header((note.alias or name).replace("_", "-"), TypeAdapter(hint), default)
        if isinstance(note, params.Query) and inspect.isclass(kind) and issubclass(kind, BaseModel):
            return _defaults(kind)
    raise TypeError(f"the short way can't read {name!r}")


async def _request(request: Request, _: ApiKey) -> Request:
    return request


async def _caller(_: Request, caller: ApiKey) -> ApiKey:
    return caller


def _dependency(dependency: Any) -> Reader:
    readers = _readers(dependency)

    async def read(request: Request, caller: ApiKey) -> Any:
        return await dependency(**{name: await reader(request, caller) for name, reader in readers.items()})

    return read


def _header(header: str, adapter: TypeAdapter[Any], default: Any) -> Reader:
    async def read(request: Request, _: ApiKey) -> Any:
        value = request.headers.get(header)
        return default if value is None else adapter.validate_python(value)

    return read


def _defaults(model: type[BaseModel]) -> Reader:
    async def read(_: Request, __: ApiKey) -> BaseModel:
        return model()

    return read
