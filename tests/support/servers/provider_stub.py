"""A provider of OpenAI's protocol that answers as scripted: what llmock can't do wrong."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


async def eventually(check: Callable[[], object], *, patience: float = 10) -> None:
    """Wait until `check` gives something true."""
    async with asyncio.timeout(patience):
        while not check():  # noqa: ASYNC110 - what is waited for happens in a server or a pipeline of ours
            await asyncio.sleep(0.005)


class Pieces:
    """A stream, piece by piece; after the last one it ends, `breaks` off, or `hangs`."""

    def __init__(self, *pieces: str, breaks: bool = False, hangs: bool = False, pause: float = 0) -> None:
        self.pieces, self.breaks, self.hangs, self.pause = pieces, breaks, hangs, pause


Reply = web.Response | Pieces | Callable[[dict[str, Any]], web.Response] | None


class Stub:
    """Answers requests with scripted replies, the last one for ever; None hangs."""

    def __init__(self) -> None:
        self.url = ""
        self.left: bool | None = None  # whether the client was gone when its stream ended
        self.release = asyncio.Event()
        self.asked = asyncio.Event()
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.queries: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.peers: set[Any] = set()  # connections
        self.now = self.most = 0
        self._replies: list[Reply] = []

    def script(self, *replies: Reply) -> None:
        self._replies = list(replies)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.paths.append(request.path)
        self.queries.append(request.query_string)
        self.headers.append(request.headers)
        self.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        self.bodies.append(body)
        self.asked.set()
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply is None:
            await self.release.wait()
            reply = web.Response(status=500)
        self.now -= 1
        if isinstance(reply, Pieces):
            return await self._stream(request, reply)
        return reply(body) if callable(reply) else _copy(reply)

    async def _stream(self, request: web.Request, reply: Pieces) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "x-request-id": "req_7"})
        await response.prepare(request)
        assert request.transport is not None
        try:
            for piece in reply.pieces:
                await response.write(piece.encode())
                await asyncio.sleep(reply.pause)
            if reply.hangs:
                await eventually(lambda: self.release.is_set() or _gone(request), patience=60)
        finally:
            self.left = _gone(request)
        if reply.breaks:
            request.transport.abort()
        return response


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _copy(reply: web.Response) -> web.Response:
    """A response object serves one request only."""
    headers = {name: value for name, value in reply.headers.items() if name not in {"Content-Length", "Content-Type"}}
    return web.Response(body=reply.body, status=reply.status, content_type=reply.content_type, headers=headers)


def said(text: str | None, *, finish: str | None = "stop", usage: Any = None, **message: Any) -> web.Response:
    """A chat completion."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return web.json_response({"id": "1", "model": "stub-1", "choices": [choice], "usage": usage})


def chunk(text: str | None = None, *, finish: str | None = None, usage: Any = None, **more: Any) -> str:
    """One event of a streamed completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    data = {"id": "1", "model": "stub-1", "choices": [choice], "usage": usage} | more
    return f"data: {json.dumps(data)}\n\n"


def refused(status: int, headers: dict[str, str] | None = None, **error: Any) -> web.Response:
    """An error in OpenAI's form."""
    return web.json_response({"error": error}, status=status, headers=headers)


def raw(body: str, *, status: int = 200, content_type: str = "application/json") -> web.Response:
    return web.Response(text=body, status=status, content_type=content_type)


def text_of(body: dict[str, Any]) -> str:
    """All messages of a chat request as one text."""
    return "\n".join(message["content"] for message in body["messages"])


def fits(most: int) -> Callable[[dict[str, Any]], web.Response]:
    """A model whose window holds `most` bytes of messages, and which summarises to "short."."""

    def reply(body: dict[str, Any]) -> web.Response:
        if len(text_of(body)) > most:
            return refused(400, code="context_length_exceeded", message="This is too much.")
        return said("short.", usage={"prompt_tokens": 5, "completion_tokens": 2})

    return reply


@asynccontextmanager
async def serve_stub(port: int = 0) -> AsyncIterator[Stub]:
    server = Stub()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    server.release.set()
    await runner.cleanup()
