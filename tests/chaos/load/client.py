"""How users reach the platform: each request at the next gateway, again until somebody answers."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from tests.chaos.plan.model import Submission
from tests.chaos.platform import KEYS

AT_ONCE = 40  # requests under way
PATIENCE = 15.0  # seconds for one answer
GIVE_UP = 180.0  # seconds after which nobody is asked again
# No JSON: a gateway that ends within its grace time breaks off what still waits for Redis, and uvicorn says a bare 500.
BROKEN = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
AGAIN = frozenset({429, 503})


@dataclass(frozen=True)
class Answer:
    """What was answered at last; `status` 0: nobody did.

    `again`: an earlier request of it may have been carried out. It got no answer, or a 503: Redis did not answer.
    """

    status: int
    body: Any
    again: bool
    sent: float
    answered: float


class Client:
    """Asks; counts the requests that were sent again."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self.session = session
        self.urls = urls
        self.sent_again = 0
        self._next = 0
        self._gate = asyncio.Semaphore(AT_ONCE)

    def url(self) -> str:
        """Give the next gateway."""
        self._next += 1
        return self.urls[self._next % len(self.urls)]

    async def ask(self, planned: Submission, method: str, path: str, **more: Any) -> Answer:
        """Send a request until somebody answers it."""
        sent, again = time.time(), False
        while time.time() < sent + GIVE_UP:
            try:
                # Those who wait for a job's end don't keep others from submitting.
                gate = self._gate if method == "POST" else nullcontext()
                url = self.url() + path
                async with gate, self.session.request(method, url, headers=headers(planned), **more) as answer:
                    body = await answer.json(content_type=None)
                    if answer.status not in AGAIN:
                        return Answer(answer.status, body, again, sent, time.time())
                    again = again or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            except BROKEN:
                again = True
            self.sent_again += 1
            await asyncio.sleep(0.2)
        return Answer(0, None, again, sent, time.time())


def headers(planned: Submission) -> dict[str, str]:
    """Say who asks, and by which key a repeat is known."""
    return {"Authorization": f"Bearer {KEYS[planned.by]}", "Idempotency-Key": planned.key or planned.marker}


def session() -> aiohttp.ClientSession:
    """Open connections as many as are needed."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE), connector=aiohttp.TCPConnector(limit=0))
