"""Large results on their way to a store of files that hangs, or takes none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tandem.llm_worker.engine import large_results
from tandem.llm_worker.engine.large_results import LARGEST_IN_REDIS, WRITERS, checked, kept
from tandem.shared.errors import TransientError
from tandem.shared.jobs.attempt import check_output
from tandem.shared.jobs.model import Artefact
from tandem.shared.runtime.redis_client import AsyncClient, async_client
from tandem.shared.storage.artifacts import LARGE, Artifacts
from tandem.shared.store.leases import Lease
from tandem.shared.store.signature import Foreign
from tandem.shared.tasks.catalog.llm import EMBED, EmbedOutput
from tests.support.processes import until
from tests.support.servers.files import out_of_reach
from tests.support.servers.valkey import Valkey

MANY = 50  # more than an event loop has threads
ORDINARY, VERY_LARGE = f'"{"x" * LARGE}"', f'"{"x" * LARGEST_IN_REDIS}"'
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


@pytest.fixture
async def redis(own_valkey: Valkey) -> AsyncIterator[AsyncClient]:
    client = async_client(own_valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
async def hung(bucket: Hanging) -> AsyncIterator[Artifacts]:
    """A store that hangs for as long as the test lasts."""
    yield Artifacts("s3://bucket")
    bucket.ends.set()
    await asyncio.to_thread(lambda: WRITERS.submit(int).result())


async def test_a_store_that_hangs_takes_no_thread_that_others_need(
    bucket: Hanging, redis: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As who looks up a provider's host, and would find that provider down."""
    monkeypatch.setattr(large_results, "TRIED_FOR", timedelta(0))
    files = Artifacts("s3://bucket")
    storing = [asyncio.create_task(kept(VERY_LARGE, lease(number), files, redis)) for number in range(MANY)]
    try:
        async with asyncio.timeout(20):
            await bucket.asked.wait()
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            assert await asyncio.to_thread(int, "7") == 7
    finally:
        bucket.ends.set()
        outcomes = await asyncio.gather(*storing, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TransientError}


async def test_what_a_store_does_not_take_goes_into_redis_unless_that_is_full_or_it_is_very_large(
    redis: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_results, "TRIED_FOR", timedelta(0))
    files = Artifacts(tmp_path.as_uri())
    with out_of_reach(tmp_path / "ann"):
        assert await kept(ORDINARY, lease(1), files, redis) == ORDINARY
        with pytest.raises(TransientError):
            await kept(VERY_LARGE, lease(1), files, redis)
        await redis.config_set("maxmemory", "1mb")
        with pytest.raises(TransientError):
            await kept(ORDINARY, lease(1), files, redis)


async def test_a_very_large_one_is_there_once_the_store_takes_it(
    redis: AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Artifacts(tmp_path.as_uri())
    with out_of_reach(tmp_path / "ann"):
        storing = asyncio.create_task(kept(VERY_LARGE, lease(1), files, redis))
        await asyncio.to_thread(until, lambda: "asked again" in caplog.text, what="a refusal")
    stored = await storing
    assert isinstance(stored, Artefact)
    assert files.get(stored.key) == VERY_LARGE.encode()


async def test_one_goes_into_redis_if_the_store_hangs(
    hung: Artifacts, redis: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_results, "PATIENCE", timedelta(milliseconds=100))
    async with asyncio.timeout(20):
        assert await kept(ORDINARY, lease(1), hung, redis) == ORDINARY


async def test_one_goes_into_redis_if_its_worker_has_to_end(
    bucket: Hanging, hung: Artifacts, redis: AsyncClient
) -> None:
    storing = asyncio.create_task(kept(ORDINARY, lease(1), hung, redis))
    async with asyncio.timeout(20):
        await bucket.asked.wait()
        storing.cancel()
        assert await storing == ORDINARY


async def test_so_it_does_if_that_comes_while_neither_takes_it(
    redis: AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis keeps nothing back from what ends work: its outcome may be written all the same."""
    await redis.config_set("maxmemory", "1mb")
    files = Artifacts(tmp_path.as_uri())
    with out_of_reach(tmp_path / "ann"):
        storing = asyncio.create_task(kept(ORDINARY, lease(1), files, redis))
        await asyncio.to_thread(until, lambda: "asked again" in caplog.text, what="a refusal")
        storing.cancel()
        assert await storing == ORDINARY


async def test_a_very_large_one_is_given_up_if_the_store_hangs(
    hung: Artifacts, redis: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_results, "TRIED_FOR", timedelta(milliseconds=100))
    monkeypatch.setattr(large_results, "PATIENCE", timedelta(milliseconds=100))
    async with asyncio.timeout(20):
        with pytest.raises(TransientError):
            await kept(VERY_LARGE, lease(1), hung, redis)


async def longest_pause(work: Callable[[], Awaitable[str]]) -> float:
    """Seconds that the event loop stood still at most, in the best of some tries: others use the machine, too."""
    loop, pauses = asyncio.get_running_loop(), []
    for _ in range(3):
        task, longest, before = asyncio.ensure_future(work()), 0.0, loop.time()
        while not task.done():
            await asyncio.sleep(0)
            longest, before = max(longest, loop.time() - before), loop.time()
        pauses.append(longest)
    return min(pauses)


async def test_the_loop_goes_on_while_many_vectors_are_encoded() -> None:
    vectors = [[number / 1536 for number in range(1536)] for _ in range(1024)]
    output = EmbedOutput.model_construct(embeddings=vectors, dimensions=1536)

    async def at_once() -> str:
        return check_output(EMBED, output)

    assert await longest_pause(lambda: checked(EMBED, output)) < await longest_pause(at_once) / 2
    assert await checked(EMBED, output) == output.model_dump_json()
