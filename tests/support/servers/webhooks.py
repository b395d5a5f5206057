"""Webhooks in tests: jobs that have ended, and real receivers that answer what a path asks for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tandem.shared.dispatch import submission
from tandem.shared.jobs.submission import Options
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import CATALOG, PLENTY, TTL, claim, get, put, succeed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwaGlq9Ye0Xyz0"
Deliver = Callable[..., Any]
CHAT = CATALOG["chat"]
HELLO = CHAT.input.model_validate(CHAT.example)


class Receiver:
    """An endpoint that answers what a path asks for and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.release = asyncio.Event()
        self.asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        self.got.append((path, dict(request.headers), await request.read()))
        self.asked.set()
        tries = sum(seen == path for seen, _, _ in self.got)
        if path == "/hangs":
            await self.release.wait()
        if path == "/redirects":
            raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest/meta-data")
        status = {"/gone": 410, "/recovers": 500 if tries == 1 else 204, "/broken": 500, "/later": 503}.get(path, 200)
        return web.Response(status=status, headers={"Retry-After": "9" * 30} if path == "/later" else None)

    async def until(self, path: str, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.to(path)) < count:
                self.asked.clear()
                await self.asked.wait()

    def to(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for seen, headers, body in self.got if seen == path]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Serve on a port of its own, which makes it a host of its own."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.release.set()
    await runner.cleanup()


def finished(book: Book, url: str, owner: str = "ann") -> str:
    """Let a job with a webhook succeed."""
    job_id = put(book, owner=owner, webhook_url=url)
    succeed(book, claim(book)[0])
    return job_id


def ended(book: Book, hooks: Sequence[tuple[str, str]]) -> list[str]:
    """Let a job of each owner end that has a webhook to this URL, in two round trips for all."""
    jobs = [
        submission(CHAT, HELLO, owner=owner, request_id="r", options=Options(webhook_url=url)) for owner, url in hooks
    ]
    book.run_all([store_job(job, PLENTY) for job in jobs])
    book.run_all([commands.cancel(job.id, ttl=TTL) for job in jobs])
    return [job.id for job in jobs]


async def shown(book: Book, job_id: str, outcome: str) -> dict[str, Any]:
    """Wait until the job shows a delivery of that outcome that was tried."""
    async with asyncio.timeout(20):
        while True:
            for delivery in (await asyncio.to_thread(get, book, job_id)).deliveries:
                if delivery["status"] == outcome and delivery["attempt"]:
                    return delivery
            await asyncio.sleep(0.02)
