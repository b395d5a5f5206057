"""Requests to the gateway, counted in memory and handed to Redis now and then: no round trip for any of them."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.shared.errors import StoreUnavailable
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import Call

log = logging.getLogger("tandem.api")

EVERY = 2.0  # seconds
UNKNOWN = "unknown"  # one label for all paths that there are not
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traffic:
    """Counts requests by method, route and status; several gateways add up in the same counters."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, scope: Scope, status: int) -> None:
        """Count one request that was answered."""
        route = getattr(scope.get("route"), "path", UNKNOWN)
        method = scope["method"] if scope["method"] in METHODS else UNKNOWN
        self._counts[f"http|{method}|{route}|{status}"] += 1

    async def flush(self, book: AsyncBook) -> None:
        """Hand over what was counted.

        Raises:
            StoreUnavailable: Redis is away; what it did not take is kept.

        """
        counts, self._counts = self._counts, Counter()
        calls: list[Call[Any]] = [
            Call("HINCRBY", [Key.METRICS, name, by], int, command=True) for name, by in counts.items()
        ]
        outcomes = await book.attempt_all(calls)
        for (name, by), outcome in zip(counts.items(), outcomes, strict=True):
            if isinstance(outcome, StoreUnavailable):
                self._counts[name] += by
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    @asynccontextmanager
    async def handed_to(self, book: AsyncBook) -> AsyncIterator[None]:
        """Flush now and then, and at the end."""
        over = asyncio.Event()
        flushing = asyncio.create_task(self._keep_flushing(book, over))
        try:
            yield
        finally:
            over.set()  # and not cancelled: what is under way to Redis would be lost
            await flushing

    async def _keep_flushing(self, book: AsyncBook, over: asyncio.Event) -> None:
        stopping = False
        while not stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    stopping = await over.wait()
            try:
                with suppress(StoreUnavailable):
                    await self.flush(book)
            except Exception:  # a mistake of ours in counting must not end it
                log.exception("requests were not counted")


class Counted:
    """Tell `Traffic` of each answer."""

    def __init__(self, app: ASGIApp, *, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._traffic.count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, noted)
