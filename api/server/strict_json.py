"""Strict JSON: what Redis, the workers or a provider could not carry is refused at the door."""

import json
import math
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from tandem.api.auth.keys import authenticate, bearer


class StrictRequest(Request):
    """Refuses NaN, lone surrogates and bottomless nesting, which Python's own parser lets through."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            value = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        if OVERFLOWING.search(body) and not all(map(_finite, _walk(value))):
            raise json.JSONDecodeError("a number is out of range", "", 0)
        return value


# What can become infinity when it is read: a three-digit exponent, or a number as long as the longest float.
OVERFLOWING = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{309}")


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _walk(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


class StrictRoute(APIRoute):
    """A route whose body is read by `StrictRequest`, and only for callers with a key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            await authenticate(request, await bearer(request))
            return await handler(StrictRequest(request.scope, request.receive))

        return strict
