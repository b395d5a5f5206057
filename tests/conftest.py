"""A real Valkey for the whole run, empty for each test that asks for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from tandem.shared.runtime.redis_client import async_client, client
from tandem.shared.store.executor import AsyncBook, Book
from tests.support.servers.valkey import Valkey


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("v"))
    yield server
    server.kill()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server of the test's own, to be killed."""
    folder = tmp_path / "v"
    folder.mkdir()
    server = Valkey(folder)
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: Valkey) -> str:
    """The URL of an empty server."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server.url


@pytest.fixture
def book(valkey: str) -> Iterator[Book]:
    with client(valkey) as connection:
        yield Book(connection)


@pytest.fixture
async def async_book(valkey: str) -> AsyncIterator[AsyncBook]:
    book = AsyncBook(async_client(valkey))
    yield book
    await book.aclose()
