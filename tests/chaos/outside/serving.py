"""What the outside programs over HTTP have in common."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web


async def serve(handle: Callable[[web.Request], Awaitable[web.StreamResponse]], *, path: str, port: int) -> None:
    """Serve until cancelled; a handler is cancelled when its client leaves."""
    app = web.Application()
    app.router.add_post(path, handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()
