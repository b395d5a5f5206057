"""The gateway's application in this process, its clients, and what its answers have in common."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from blockbuster import BlockBuster
from fastapi import FastAPI

from tandem.shared.config.settings import Settings

KEYS = "ann:user:ann-key-0123456789abc,bob:user:bob-key-0123456789abc,root:admin:root-key-0123456789ab"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
PROBLEM = "application/problem+json"
BODIES: dict[str, Any] = {"chat": CHAT, "report": {"markdown": "x"}}


@dataclass
class Gateway:
    app: FastAPI
    ann: httpx.AsyncClient
    bob: httpx.AsyncClient
    admin: httpx.AsyncClient
    nobody: httpx.AsyncClient
    settings: Settings

    async def submit(self, task: str = "chat", body: Any = CHAT) -> str:
        answer = await self.ann.post(f"/v1/{task}", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


@asynccontextmanager
async def started(app: FastAPI, settings: Settings) -> AsyncIterator[Gateway]:
    """Start a gateway. A call that would block its event loop fails the request."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def client(key: str = "") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)

    buster = BlockBuster(["tandem.api"])
    async with app.router.lifespan_context(app):
        buster.activate()
        yield Gateway(
            app=app,
            ann=client("ann-key-0123456789abc"),
            bob=client("bob-key-0123456789abc"),
            admin=client("root-key-0123456789ab"),
            nobody=client(),
            settings=settings,
        )
        buster.deactivate()


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["x-request-id"]
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"]
    return body
