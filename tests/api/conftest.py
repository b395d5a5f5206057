"""The gateway's application on a real Valkey, watched for calls that block its loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI
from pydantic import SecretStr

from tandem.api.app import create_app
from tandem.shared.config.api_keys import parse_keys
from tandem.shared.config.settings import Settings
from tandem.shared.storage.artifacts import Files
from tandem.shared.store.executor import Book
from tests.conftest import Valkey

KEYS = "ann:user:ann-key-0123456789abc,bob:user:bob-key-0123456789abc,root:admin:root-key-0123456789ab"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


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


@pytest.fixture(scope="session")
def settings(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("gateway")
    return Settings(
        redis_url=SecretStr(valkey_server.url),
        api_keys=parse_keys(KEYS),
        run_dir=folder,
        files_url=(folder / "files").as_uri(),
        queue_max=50,
        webhook_secret=SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwaGlq9Ye0Xyz0"),
    )


@pytest.fixture(scope="session")
def app(settings: Settings) -> FastAPI:
    """Building it takes half a second; what it connects to is opened for each test."""
    return create_app(settings)


@pytest.fixture
def files(settings: Settings) -> Files:
    files = Files(settings.files)
    for entry in files.list():
        files.delete(entry.key)
    return files


@pytest.fixture
async def gateway(app: FastAPI, settings: Settings, valkey: str) -> AsyncIterator[Gateway]:
    """Clients of a started gateway on an empty Valkey."""
    assert valkey
    async with started(app, settings) as gateway:
        yield gateway


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


@pytest.fixture
def worker(book: Book) -> Book:
    """The job book as a worker has it."""
    return book
