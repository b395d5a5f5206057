"""An id for every request, and an answer with it to a mistake of ours. Plain ASGI: no task per request."""

import asyncio
import logging
import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from tandem.api.server.error_responses import answer_to
from tandem.shared.errors import ServiceError

log = logging.getLogger("tandem.api")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Take the caller's `X-Request-ID` if it is harmless, else make one; answer and logs carry it.

    A mistake of ours is caught here and not by Starlette, whose own 500 would lack the id; so is the end of the
    server's grace, which would be a bare 500 of uvicorn's.
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
        except asyncio.CancelledError:  # the server is told to stop, and its grace is over
            if started:
                raise
            await answer_to(ServiceError("this gateway shuts down"))(scope, receive, send_with_id)
        except Exception as error:
            log.exception("500 on %s %s", scope["method"], scope["path"])
            if started:
                raise
            await answer_to(error)(scope, receive, send_with_id)
