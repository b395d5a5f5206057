"""Those who watch jobs while gateways come and go: each has every event of its job once, and in order."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.store import events, leases
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.leases import Lease, Success
from tests.support.event_source import Watcher, connections, whole
from tests.support.gateway import KEYS
from tests.support.jobs import TTL, put
from tests.support.processes import Process, running
from tests.support.servers.provider_stub import Pieces, chunk, serve_stub

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": "Bearer ann-key-0123456789abc"}


@contextmanager
def gateway(valkey: str, folder: Path, port: int) -> Iterator[Process]:
    env = {"REDIS_URL": valkey, "PORT": str(port), "TANDEM_API_KEYS": KEYS, "RUN_DIR": str(folder)}
    log = folder / f"api-{port}.log"
    log.unlink(missing_ok=True)
    with running("tandem.api", env=env, log=log, says="listening") as process:
        yield process


async def work(book: AsyncBook, jobs: int, *, steps: int, pause: float) -> None:
    """Run all jobs that wait, a few events at a time, each of them twice: the first run is handed back."""
    held: list[Lease] = []
    for lives in (1, 2):
        while len(held) < jobs:
            held += (await book.run(leases.claim_llm(worker="w", limit=jobs, ttl=TTL))).leases
        for step in range(steps):
            for lease in held:
                burst = [(Kind.DELTA, {"text": f"{step} "})] * random.randint(1, 3)  # noqa: S311
                assert await book.run(events.append(lease, burst))
            await asyncio.sleep(pause)
        for lease in held:
            if lives == 1:
                await book.run(leases.give_up(lease, HandBack(timedelta(0)), usage=Usage(), ttl=TTL))
            else:
                await book.run(leases.succeed(lease, Success('{"text": "hi"}'), usage=Usage(), ttl=TTL))
        held.clear()


async def test_restless_watchers_of_two_gateways_miss_nothing(
    valkey: str, book: Book, async_book: AsyncBook, tmp_path: Path
) -> None:
    """They leave in the middle again and again, and go on at either gateway."""
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connections())
        for port in ports:
            stack.enter_context(gateway(valkey, tmp_path, port))
        jobs = [put(book) for _ in range(4)]
        watchers = [Watcher(urls, job, restless=True) for job in jobs for _ in range(5)]
        watching = [asyncio.create_task(watcher.run(client)) for watcher in watchers]
        await work(async_book, len(jobs), steps=15, pause=0.05)
        async with asyncio.timeout(60):
            await asyncio.gather(*watching)
    assert all(whole(watcher.seen) for watcher in watchers)
    assert sum(watcher.connections for watcher in watchers) > 4 * len(watchers)
    for job in jobs:
        first, *others = [watcher.seen for watcher in watchers if watcher.job_id == job]
        assert all(other == first for other in others)


@pytest.mark.parametrize(("signum", "watchers_each"), [(signal.SIGKILL, 20), (signal.SIGTERM, 4)])
async def test_a_gateway_replaced_under_200_watchers(
    valkey: str, book: Book, async_book: AsyncBook, tmp_path: Path, signum: signal.Signals, watchers_each: int
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connections())
        first = stack.enter_context(gateway(valkey, tmp_path, port))
        jobs = [put(book) for _ in range(10)]
        watchers = [Watcher([url], job) for job in jobs for _ in range(watchers_each)]
        watching = [asyncio.create_task(watcher.run(client)) for watcher in watchers]
        await _until(lambda: all(watcher.seen for watcher in watchers))
        working = asyncio.create_task(work(async_book, len(jobs), steps=10, pause=0.1))
        await _until(lambda: all(len(watcher.seen) > 5 for watcher in watchers))
        first.popen.send_signal(signum)
        await asyncio.to_thread(first.popen.wait, 10)
        said = first.output
        assert not any(watcher.ended for watcher in watchers)
        stack.enter_context(gateway(valkey, tmp_path, port))
        async with asyncio.timeout(60):
            await asyncio.gather(working, *watching)
    assert all(whole(watcher.seen) for watcher in watchers)
    assert all(watcher.connections == 2 for watcher in watchers)
    assert "error" not in said.lower()


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what it asks about is no asyncio's
            await asyncio.sleep(0.05)


async def test_a_worker_killed_in_the_middle_of_a_stream(valkey: str, book: Book, tmp_path: Path) -> None:
    """Another one goes on; whoever watches sees the second attempt begin, and neither gap nor repeat."""
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    pieces = [*(chunk(f"{n} ") for n in range(30)), chunk("", finish="stop"), "data: [DONE]\n\n"]
    broken_off = Pieces(*pieces[:30], pause=0.1, hangs=True)  # until its worker is killed
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(serve_stub())
        stub.script(broken_off, Pieces(*pieces, pause=0.1))
        client = await stack.enter_async_context(connections())
        for port in ports:
            stack.enter_context(gateway(valkey, tmp_path, port))
        env = {"REDIS_URL": valkey, "OPENAI_BASE_URL": stub.url, "RUN_DIR": str(tmp_path)}
        # Both are there from the beginning: if nobody calls while one starts, that looks like an outage of Redis.
        workers = [
            stack.enter_context(running("tandem.llm_worker", env=env, log=tmp_path / f"{name}.log", says="ready"))
            for name in ("one", "other")
        ]
        job = put(book, stream=True)
        watchers = [Watcher(urls, job, restless=restless) for restless in (True, True, False)]
        watching = [asyncio.create_task(watcher.run(client)) for watcher in watchers]
        await _until(lambda: all([event.kind for event in watcher.seen].count("delta") >= 3 for watcher in watchers))
        holder = str(book.client.hget(f"tandem:job:{job}", "worker"))
        [first] = [worker for worker in workers if f"-{worker.popen.pid}-" in holder]
        first.popen.kill()
        async with asyncio.timeout(60):
            await asyncio.gather(*watching)
    assert all(whole(watcher.seen) and watcher.seen == watchers[0].seen for watcher in watchers)
    last = max(n for n, event in enumerate(watchers[0].seen) if event.kind == "attempt")
    assert watchers[0].seen[last].data == {"attempt": 2}
    text = "".join(event.data["text"] for event in watchers[0].seen[last:] if event.kind == "delta")
    assert text == "".join(f"{n} " for n in range(30))
    assert watchers[0].seen[-1].data["result"]["text"] == text


@asynccontextmanager
async def streams(port: int, jobs: list[str]) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Open a stream for each of these jobs, on a bare connection."""
    opened = []
    for job in jobs:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n\r\n"
        writer.write(head.encode())
        opened.append((reader, writer))
    yield [reader for reader, _ in opened]
    for _, writer in opened:
        writer.close()


async def test_many_watchers_share_five_connections(
    valkey: str, book: Book, async_book: AsyncBook, tmp_path: Path
) -> None:
    port = free_port()
    jobs = [put(book) for _ in range(50)]
    before = len(await async_book.client.client_list())
    with gateway(valkey, tmp_path, port):
        async with streams(port, jobs * 10) as readers, asyncio.timeout(60):
            for reader in readers:
                await reader.readuntil(b"event: status\n")
            await work(async_book, len(jobs), steps=2, pause=0)
            for reader in readers:
                await reader.readuntil(b"event: end\n")
            assert len(await async_book.client.client_list()) - before <= 5
