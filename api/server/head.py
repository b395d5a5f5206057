"""HEAD is answered as GET without the content (RFC 9110), at every path that GET has."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Let GET answer, and end it when the head of its answer is out: streams and files have no end to wait for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._head(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        over = asyncio.Event()

        async def only_the_head(message: Message) -> None:
            if message["type"] != "http.response.start" or over.is_set():
                return
            scope["method"] = "HEAD"  # the server has a look at it: its content may be shorter than said
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            over.set()

        scope["method"] = "GET"
        answering = asyncio.ensure_future(self._app(scope, receive, only_the_head))
        ended = asyncio.create_task(over.wait())
        try:
            await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            scope["method"] = "HEAD"
            for task in (answering, ended):
                task.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)
