"""The real SDK against real servers: llmock in its own process, and `Stub` for what llmock can't do wrong."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.gate import Gate, OpenGate
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.config.settings import Settings
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import AsyncBook
from tests.support.llm_attempts import KEY, MakeContext
from tests.support.servers.llmock import LlMock, Servers, serve_llmock
from tests.support.servers.provider_stub import Stub, serve_stub


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Start an llmock with given options once a session."""
    running: dict[tuple[str, ...], LlMock] = {}
    with ExitStack() as stack:

        def get(*options: str) -> LlMock:
            if options not in running:
                running[options] = stack.enter_context(serve_llmock(*options))
            running[options].reset()
            return running[options]

        yield get


@pytest.fixture
def mock(servers: Servers) -> LlMock:
    return servers()


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    async with serve_stub() as server:
        yield server


@pytest_asyncio.fixture
async def limiter(valkey: str) -> AsyncIterator[Limiter]:
    clients = async_client(valkey), async_client(valkey, timeout=None)
    limiter = Limiter.open(AsyncBook(clients[0]), clients[1])
    yield limiter
    await limiter.aclose()
    for connection in clients:
        await connection.aclose()


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeContext]:
    """Build the context of one attempt against a base URL."""
    routers: list[Router] = []

    def build(url: str, *, gate: Gate | None = None, **values: Any) -> LlmContext:
        settings = Settings(_env_file=None, openai_base_url=url, openai_api_key=KEY, run_dir=tmp_path, **values)
        routers.append(Router.open(settings, gate or OpenGate()))
        return LlmContext(
            job_id="01", tickets=Tickets(run="01:1"), owner="ann", attempt=1, settings=settings, router=routers[-1]
        )

    yield build
    for router in routers:
        await router.aclose()
