"""What the outside programs have in common: their command line, and how those over HTTP serve."""

import argparse
import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.chaos.outside.lines import Log

Serve = Callable[[Log, int, int], Coroutine[Any, Any, None]]  # with the log, the seed and the port, until cancelled


def main(description: str | None, serve: Serve) -> None:
    """Serve as the command line says, until interrupted."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    with options.log.open("a") as file, suppress(KeyboardInterrupt):
        asyncio.run(serve(Log(file), options.seed, options.port))


async def serve(handle: Callable[[web.Request], Awaitable[web.StreamResponse]], *, path: str, port: int) -> None:
    """Serve until cancelled; a handler is cancelled when its client leaves."""
    app = web.Application()
    app.router.add_post(path, handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()
