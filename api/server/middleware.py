"""What happens to every request: an id, and a limit on its body. Plain ASGI: no task per request."""

import logging
import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from tandem.api.server.problems import problem

log = logging.getLogger("tandem.api")

BUG = "the gateway made a mistake; the request id leads to the log line"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Take the caller's `X-Request-ID` if it is harmless, else make one; answer and logs carry it.

    A mistake of ours is caught here and not by Starlette, whose own 500 would lack the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(ULID())
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        structlog.contextvars.bind_contextvars(
            request=request_id
        )  # the server runs each request in a context of its own
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("500 on %s %s", scope["method"], scope["path"])
            if started:
                raise
            await problem(500, BUG)(scope, receive, send_with_id)


class BodyLimit:
    """Answer 413 to a body over `limit` bytes, whether it says its length or not."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._message = f"a body may have at most {limit} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._limit:
            await problem(413, self._message)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, self._message)
            return message

        await self._app(scope, counted, send)
