"""A limit on what a request may carry: more is answered with 413. Plain ASGI: no task per request."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.api.server.error_responses import answer_to
from tandem.api.server.errors import BodyTooLarge


class BodyLimit:
    """Refuse a body over `limit` bytes, whether it says its length or not."""

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
            await answer_to(BodyTooLarge(self._message))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise BodyTooLarge(self._message)
            return message

        await self._app(scope, counted, send)
