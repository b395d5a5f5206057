"""The real SDK against real servers: llmock in its own process, and `Stub` for what llmock can't do wrong."""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.gate import Gate, OpenGate
from tandem.shared.config.settings import Settings
from tests.support.providers import KEY, LlMock, Stub

MakeContext = Callable[..., LlmContext]
Servers = Callable[..., LlMock]


@contextmanager
def _serve(*options: str) -> Iterator[LlMock]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    llmock = str(Path(sys.executable).with_name("llmock"))
    command = [llmock, "serve", "--port", str(port), "--log-level", "error", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _wait(client, process)
            yield LlMock(client, f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(10)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get("/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("llmock did not start")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Start an llmock with given options once a session."""
    running: dict[tuple[str, ...], LlMock] = {}
    with ExitStack() as stack:

        def get(*options: str) -> LlMock:
            if options not in running:
                running[options] = stack.enter_context(_serve(*options))
            running[options].reset()
            return running[options]

        yield get


@pytest.fixture
def mock(servers: Servers) -> LlMock:
    return servers()


@asynccontextmanager
async def serve_stub() -> AsyncIterator[Stub]:
    server = Stub()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    server.release.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    async with serve_stub() as server:
        yield server


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeContext]:
    """Build the context of one attempt against a base URL."""
    routers: list[Router] = []

    def build(url: str, *, gate: Gate | None = None, **values: Any) -> LlmContext:
        settings = Settings(_env_file=None, openai_base_url=url, openai_api_key=KEY, run_dir=tmp_path, **values)
        routers.append(Router.open(settings, gate or OpenGate()))
        return LlmContext(job_id="01", owner="ann", attempt=1, settings=settings, router=routers[-1])

    yield build
    for router in routers:
        await router.aclose()
