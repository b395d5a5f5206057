"""Large results on their way to a store of files that hangs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tandem.llm_worker.engine.large_results import kept
from tandem.shared.errors import TransientError
from tandem.shared.storage.artifacts import LARGE, Artifacts
from tandem.shared.store.leases import Lease
from tandem.shared.store.signature import Foreign

MANY = 50  # more than an event loop has threads
NO = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Hanging:
    """A bucket that says nothing, until it says no."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ends = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await self.ends.wait()
        await reader.read(2 * LARGE)
        writer.write(NO)
        await writer.drain()
        writer.close()


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hanging]:
    hanging = Hanging()
    async with await asyncio.start_server(hanging.serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "a")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        yield hanging


def lease(number: int) -> Lease:
    made: dict[str, Any] = {"task": "chat", "owner": "ann", "payload": "{}", "request_id": "r", "token": "1-a"}
    return Lease(id=Foreign(f"01J{number}"), attempt=1, max_attempts=3, created_at=datetime.now(UTC), **made)


async def test_a_store_that_hangs_takes_no_thread_that_others_need(bucket: Hanging) -> None:
    """As who looks up a provider's host, and would find that provider down."""
    files, result = Artifacts("s3://bucket"), f'"{"x" * LARGE}"'
    storing = [asyncio.create_task(kept(result, lease(number), files)) for number in range(MANY)]
    try:
        async with asyncio.timeout(20):
            await bucket.asked.wait()
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            assert await asyncio.to_thread(int, "7") == 7
    finally:
        bucket.ends.set()
        outcomes = await asyncio.gather(*storing, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TransientError}
