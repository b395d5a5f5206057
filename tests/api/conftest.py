"""The gateway's application on a real Valkey, watched for calls that block its loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from tandem.api.app import create_app
from tandem.shared.config.api_keys import parse_keys
from tandem.shared.config.settings import Settings
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store.executor import Book
from tests.support.gateway import KEYS, Gateway, started
from tests.support.servers.proxy import Proxy, proxied
from tests.support.servers.valkey import Valkey


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
def files(settings: Settings) -> Artifacts:
    files = Artifacts(settings.files)
    for entry in files.list():
        files.delete(entry.key)
    return files


@pytest.fixture
async def gateway(app: FastAPI, settings: Settings, valkey: str) -> AsyncIterator[Gateway]:
    """Clients of a started gateway on an empty Valkey."""
    assert valkey
    async with started(app, settings) as gateway:
        yield gateway


@pytest.fixture
async def network(tmp_path: Path, valkey_server: Valkey) -> AsyncIterator[Proxy]:
    with proxied(tmp_path / "p", valkey_server.folder / "valkey.sock") as made:
        yield made


@pytest.fixture
async def behind(network: Proxy, settings: Settings, valkey: str) -> AsyncIterator[Gateway]:
    """A gateway whose Redis is behind the network."""
    assert valkey
    changed = settings.model_copy(update={"redis_url": SecretStr(network.url)})
    async with started(create_app(changed), changed) as gateway:
        yield gateway


@pytest.fixture
def worker(book: Book) -> Book:
    """The job book as a worker has it."""
    return book
