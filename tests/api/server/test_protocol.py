"""What a client may send before anybody has looked at its key, on bare connections to a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from tandem.api.server import protocol
from tandem.api.server.listener import listen
from tandem.api.server.protocol import HEAD_MAX, BoundedProtocol
from tests.support.gateway import CHAT, Gateway

KEY = b"Authorization: Bearer ann-key-0123456789abc\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def port(gateway: Gateway) -> AsyncIterator[int]:
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(gateway.app, http=BoundedProtocol, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(20):
        yield reader, writer
    writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


HUGE = {
    "a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * HEAD_MAX,
    "headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * (HEAD_MAX // 4),
    "a query": b"GET /healthz?" + b"a" * HEAD_MAX,
    "no request": b"\x16\x03\x01 what is this",
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", HUGE)
async def test_a_head_without_end_is_refused(port: int, name: str, *, whole: bool) -> None:
    """Whole or not: what does not end must not be kept for ever."""
    async with connected(port) as (reader, writer):
        answered = asyncio.create_task(answer(reader))
        writer.write(HUGE[name])
        if whole:
            writer.write(b" HTTP/1.1\r\n\r\n" if name == "a query" else b"\r\n\r\n")
        while not (whole or answered.done()):
            writer.write(b"a" * 1000)
            await asyncio.sleep(0.001)
        status, headers, body = await answered
        assert status == (400 if name == "no request" else 431)
        assert (headers["content-type"], json.loads(body)["status"]) == ("application/problem+json", status)
        assert headers["x-request-id"]
        with suppress(ConnectionResetError):  # what came after the answer was not read
            assert await reader.read() == b"", "it is closed"


async def test_what_is_allowed_passes(port: int) -> None:
    """A large head, then a large body in one connection."""
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 500_000}]}).encode()
    head = b"POST /v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + KEY
    head += b"X-A: " + b"a" * 60_000 + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(head + body)
            assert (await answer(reader))[0] == 202


SLOW = {
    "nothing": b"",
    "a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "a second head": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n",
    "a body": b"POST /v1/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n" + KEY + b"\r\n{",
    "a body without a key": b"POST /v1/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("name", SLOW)
async def test_who_does_not_finish_a_request_is_dropped(
    port: int, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Drop by drop is no faster."""
    monkeypatch.setattr(protocol, "PATIENCE", 0.5)
    async with connected(port) as (reader, writer):
        writer.write(SLOW[name])
        dripping = asyncio.create_task(drip(writer)) if name != "nothing" else None
        answered = b""
        with suppress(ConnectionResetError):  # by what was still on its way to a gateway that had hung up
            while piece := await reader.read(65_536):
                answered += piece
        assert (b" 202 " in answered) is False
        assert answered.count(b"HTTP/1.1") == {"a second head": 1, "a body without a key": 1}.get(name, 0)
        if dripping:
            dripping.cancel()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.1)


async def test_a_slow_body_that_moves_on_is_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 1.0)
    monkeypatch.setattr(protocol, "SLOWEST", 20)
    body = json.dumps(CHAT).encode() + b" " * 300
    head = b"POST /v1/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    async with connected(port) as (reader, writer):
        writer.write(head % len(body) + KEY + b"\r\n")
        for start in range(0, len(body), 50):
            await asyncio.sleep(0.25)  # shorter than the patience; all of it is longer
            writer.write(body[start : start + 50])
        assert (await answer(reader))[0] == 202
