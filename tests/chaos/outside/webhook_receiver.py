"""A webhook receiver that is slow, answers 500 or closes: `python -m tests.chaos.outside.webhook_receiver …`.

It writes down each request with what it answered, and whether it is signed as receivers are told to verify it.
"""

import asyncio
import random
import time
from base64 import b64encode
from pathlib import Path

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.chaos.outside import lines
from tests.chaos.outside.records import Call
from tests.chaos.outside.serving import main, serve

WAYS = {"well": 90, "slow": 4, "error": 3, "closed": 3}  # per cent
SLOW = 3.0  # seconds
SECRET = "whsec_" + b64encode(b"of the chaos run, 24 bytes or more").decode()


def read(log: Path) -> list[Call]:
    """Read the log."""
    return [Call(**{k: v for k, v in entry.items() if k != "number"}) for entry in lines.read(log, "number")]


class Receiver:
    """Takes calls, or does what goes wrong with receivers."""

    def __init__(self, log: lines.Log, seed: int) -> None:
        self._log = log
        self._chance = random.Random(seed)  # noqa: S311 - the same faults for the same seed
        self._number = 0

    async def handle(self, request: web.Request) -> web.Response:
        came, body = time.time(), await request.json()
        self._number += 1
        what = {
            "number": self._number,
            "id": request.headers["webhook-id"],
            "job": body["data"]["id"],
            "event": body["type"],
            "signed": await _signed(request),
            "status": body["data"]["status"],
            "result": body["data"].get("result"),
            "at": came,
        }
        way = self._chance.choices(list(WAYS), list(WAYS.values()))[0]
        if way == "slow":
            await asyncio.sleep(SLOW)
        status = {"error": 500, "closed": 0}.get(way, 204)
        self._log.write(answer=status, **what)
        if not status and request.transport is not None:
            request.transport.abort()
        return web.Response(status=status or 500)


async def _signed(request: web.Request) -> bool:
    try:
        Webhook(SECRET).verify(await request.read(), dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


async def _serve(log: lines.Log, seed: int, port: int) -> None:
    await serve(Receiver(log, seed).handle, path="/{path:.*}", port=port)


if __name__ == "__main__":
    main(__doc__, _serve)
