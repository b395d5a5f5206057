"""Large results and readers that take their time, on connections to a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import psutil
import pytest
import uvicorn

from tandem.api.jobs import outgoing
from tandem.api.jobs.outgoing import Outgoing
from tandem.api.server.listener import listen
from tandem.api.server.protocol import BoundedProtocol
from tandem.api.server.room import Room
from tandem.shared.store.executor import Book
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import claim_one, finish
from tests.support.processes import until

MIB = 1024 * 1024
SIZE = 16 * MIB
RESULT = json.dumps({"text": "x" * SIZE})
READERS = 12
KEY = "Authorization: Bearer ann-key-0123456789abc\r\n"
Slow = Callable[[str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def port(gateway: Gateway) -> AsyncIterator[int]:
    config = uvicorn.Config(gateway.app, http=BoundedProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.fixture
async def slow(port: int) -> AsyncIterator[Slow]:
    """Ask for a page and leave its answer unread but for what a small buffer holds."""
    async with AsyncExitStack() as all_of_them:

        async def begin(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            all_of_them.callback(writer.close)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{KEY}\r\n".encode())
            return reader, writer

        yield begin


async def done(gateway: Gateway, worker: Book, result: str = RESULT) -> str:
    job_id = await gateway.submit()
    finish(worker, claim_one(worker), result)
    return job_id


async def head(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(20):
        return (await reader.readuntil(b"\r\n\r\n")).decode()


def sent(book: Book) -> int:
    stats = book.client.info("stats")
    assert isinstance(stats, dict)
    return int(stats["total_net_output_bytes"])


@pytest.mark.parametrize("path", ["/v1/jobs/{}", "/v1/chat/{}"])
async def test_slow_readers_of_one_result_share_one_read(gateway: Gateway, worker: Book, slow: Slow, path: str) -> None:
    job_id = await done(gateway, worker)
    before, held = sent(worker), psutil.Process().memory_info().rss
    readers = [(await slow(path.format(job_id)))[0] for _ in range(READERS)]
    heads = [await head(reader) for reader in readers]
    assert {text.split("\r\n")[0] for text in heads} == {"HTTP/1.1 200 OK"}
    assert sent(worker) - before < 2 * SIZE
    assert psutil.Process().memory_info().rss - held < READERS * SIZE / 2
    async with asyncio.timeout(20):
        size = int(heads[-1].lower().split("content-length: ")[1].split("\r\n")[0])
        assert json.loads(await readers[-1].readexactly(size))["result"] == json.loads(RESULT)


async def test_who_waits_for_one_job_shares_its_result(gateway: Gateway, worker: Book, slow: Slow) -> None:
    job_id = await gateway.submit()
    readers = [(await slow(f"/v1/jobs/{job_id}?wait=30"))[0] for _ in range(READERS)]
    feeds = gateway.app.state.subscriptions._feeds
    await asyncio.to_thread(until, lambda: len(next(iter(feeds.values()), ())) == READERS, what="waiters")
    lease, before = claim_one(worker), sent(worker)
    await asyncio.to_thread(finish, worker, lease, RESULT)
    assert {(await head(reader)).split("\r\n")[0] for reader in readers} == {"HTTP/1.1 200 OK"}
    assert sent(worker) - before < 2 * SIZE


async def test_who_finds_no_room_is_asked_to_come_again(gateway: Gateway, worker: Book, slow: Slow) -> None:
    gateway.app.state.outgoing = Outgoing(
        gateway.app.state.book, gateway.app.state.files, room=SIZE * 3 // 2, patience=0.3
    )
    first = await done(gateway, worker)
    key = {"Idempotency-Key": "k"}
    second = (await gateway.ann.post("/v1/chat", json=CHAT, headers=key)).json()["id"]
    finish(worker, claim_one(worker), RESULT)
    reader, writer = await slow(f"/v1/jobs/{first}")
    await head(reader)
    refused = await gateway.ann.get(f"/v1/jobs/{second}")
    is_problem(refused, 503)
    assert int(refused.headers["retry-after"]) > 0
    # A repeated submission is no reason to fail: the job is named, its result is on its page.
    repeated = await gateway.ann.post("/v1/chat", json=CHAT, headers=key)
    assert (repeated.status_code, repeated.json()["id"], repeated.json()["result_omitted"]) == (200, second, True)
    writer.close()
    async with asyncio.timeout(20):
        while (answer := await gateway.ann.get(f"/v1/jobs/{second}")).status_code == 503:
            pass
    assert answer.json()["result"] == json.loads(RESULT)


async def test_small_answers_need_no_room(gateway: Gateway, worker: Book, slow: Slow) -> None:
    gateway.app.state.outgoing = Outgoing(gateway.app.state.book, gateway.app.state.files, room=1, patience=30)
    reader, _ = await slow(
        f"/v1/jobs/{await done(gateway, worker)}"
    )  # alone, what is larger than all the room goes out
    await head(reader)
    small = await done(gateway, worker, '{"text": "hi"}')
    assert (await gateway.ann.get(f"/v1/jobs/{small}")).json()["result"] == {"text": "hi"}


async def test_who_takes_an_answer_too_slowly_is_dropped(
    gateway: Gateway, worker: Book, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TIME", 0.1)
    monkeypatch.setattr(outgoing, "SLOWEST", 100 * SIZE)
    reader, _ = await slow(f"/v1/jobs/{await done(gateway, worker)}")
    await head(reader)
    waiting = gateway.app.state.outgoing._shared
    await asyncio.to_thread(until, lambda: not waiting, what="the end of its patience")
    async with asyncio.timeout(20):
        assert len(await reader.read()) < SIZE


async def test_what_was_erased_meanwhile_is_gone(gateway: Gateway, worker: Book, slow: Slow) -> None:
    gateway.app.state.outgoing = Outgoing(gateway.app.state.book, gateway.app.state.files, room=SIZE, patience=20)
    first, second = await done(gateway, worker), await done(gateway, worker)
    reader, writer = await slow(f"/v1/jobs/{first}")
    await head(reader)
    asking = asyncio.create_task(gateway.ann.get(f"/v1/jobs/{second}"))
    waiting = gateway.app.state.outgoing._shared
    await asyncio.to_thread(until, lambda: len(waiting) == 2, what="a reader in line")
    assert (await gateway.ann.delete(f"/v1/jobs/{second}")).status_code == 204
    writer.close()
    answer: httpx.Response = await asking
    is_problem(answer, 404)


async def test_room_is_given_in_the_order_of_asking() -> None:
    room, order = Room(10), list[str]()

    async def hold(name: str, size: int, end: asyncio.Event) -> None:
        async with room.take(size, patience=20):
            order.append(name)
            await end.wait()

    ends = {name: asyncio.Event() for name in ("a", "b", "c", "d")}
    sizes = {"a": 6, "b": 50, "c": 1, "d": 2}
    tasks = {name: asyncio.create_task(hold(name, sizes[name], ends[name])) for name in ends}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["a"]  # c would fit, but b was there before
    tasks["d"].cancel()
    for name in ("a", "b", "c"):
        ends[name].set()
    async with asyncio.timeout(20):
        await asyncio.gather(tasks["a"], tasks["b"], tasks["c"])
    assert order == ["a", "b", "c"]
    async with room.take(10, patience=0):
        with pytest.raises(TimeoutError):
            async with room.take(1, patience=0.01):
                pass
    async with room.take(10, patience=0.01):
        pass
