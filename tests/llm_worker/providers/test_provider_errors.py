"""Every way a provider can fail has a stable type, and a message without secrets."""

import asyncio
import socket
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.providers.errors import ContextTooLong
from tandem.shared.errors import FinalError, JobError, TransientError, Unreachable
from tandem.shared.tasks.catalog.llm import Message
from tests.support.llm_attempts import SECRET, MakeContext
from tests.support.servers.llmock import LlMock
from tests.support.servers.provider_stub import Stub, raw, refused, said

PROMPT = "The quick brown fox jumps over the lazy dog while nobody watches."
ASK = [Message(role="user", content=PROMPT)]


async def failure(make: MakeContext, url: str, **settings: Any) -> JobError:
    ctx = make(url, **settings)
    with pytest.raises(JobError) as caught:
        await ctx.provider.chat(ASK)
    was_received = not (isinstance(caught.value, Unreachable) and caught.value.refused)
    assert ctx.usage.requests == was_received
    assert SECRET not in caught.value.message
    assert "lazy dog" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad_request", False),
        (401, "invalid_credentials", False),
        (402, "insufficient_quota", False),
        (403, "invalid_credentials", False),
        (404, "unknown_model", False),
        (408, "provider_unavailable", True),
        (409, "provider_unavailable", True),
        (413, "context_too_long", False),
        (422, "bad_request", False),
        (429, "rate_limited", True),
        (500, "provider_unavailable", True),
        (503, "provider_unavailable", True),
        (529, "provider_unavailable", True),
    ],
)
async def test_status(mock: LlMock, make: MakeContext, status: int, kind: str, *, retryable: bool) -> None:
    mock.script({"type": "fail", "status": status})
    error = await failure(make, mock.url)
    assert (error.type, error.retryable) == (kind, retryable)
    assert f"HTTP {status}" in error.message
    assert len(mock.records) == 1  # the queue owns retries


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2"}, timedelta(seconds=1.5)),
        ({"retry-after": "7"}, timedelta(seconds=7)),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, timedelta()),
        ({"retry-after": "1e300"}, timedelta(days=1)),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after(stub: Stub, make: MakeContext, headers: dict[str, str], wait: timedelta | None) -> None:
    stub.script(refused(429, headers, message="Slow down."))
    error = await failure(make, stub.url)
    assert (error.type, error.retry_after) == ("rate_limited", wait)


@pytest.mark.parametrize("status", [408, 500, 503, 529])
@pytest.mark.parametrize(("said", "wait"), [("7", 7), ("86400", 60), ("Fri, 31 Dec 2100 23:59:59 GMT", 60)])
async def test_what_is_no_limit_puts_a_job_off_for_a_minute_at_most(
    stub: Stub, make: MakeContext, status: int, said: str, wait: float
) -> None:
    stub.script(refused(status, {"retry-after": said}, message="Overloaded."))
    error = await failure(make, stub.url)
    assert (error.type, error.retry_after) == ("provider_unavailable", timedelta(seconds=wait))


async def test_llmocks_own_quota(mock: LlMock, make: MakeContext) -> None:
    mock.script({"type": "fail", "status": 429, "retry_after": 2.5})
    assert (await failure(make, mock.url)).retry_after == timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refused(429, code="insufficient_quota", message="You exceeded your quota."), "insufficient_quota"),
        (refused(400, code="context_length_exceeded"), "context_too_long"),
        (refused(400, code=400, message="This model's maximum context length is 512 tokens."), "context_too_long"),
        (refused(400, message="Requested 300001 tokens, max 300000 tokens per request"), "context_too_long"),
        (refused(400, message="prompt is too long: 200001 tokens > 200000 maximum"), "context_too_long"),
        (refused(400, code="content_filter"), "content_filtered"),
        (refused(403, code="model_not_found"), "unknown_model"),
        (said(None, finish="content_filter"), "content_filtered"),
        (said(None, refusal="I can't help with that."), "refused"),
        (said("", finish="length"), "output_limit"),
    ],
)
async def test_final(stub: Stub, make: MakeContext, reply: web.Response, kind: str) -> None:
    stub.script(reply)
    error = await failure(make, stub.url)
    assert error.type == kind
    assert isinstance(error, FinalError)
    assert isinstance(error, ContextTooLong) == (kind == "context_too_long")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (raw("{oops"), "provider_garbage"),
        (raw("<html>Welcome</html>", content_type="text/html"), "provider_garbage"),
        (raw(""), "provider_garbage"),
        (raw("[]"), "provider_garbage"),
        (raw("null"), "provider_garbage"),
        (raw('{"choices": 3}'), "provider_garbage"),
        (raw('{"choices": [{}]}'), "provider_garbage"),
        (raw('{"error": {"message": "Upstream is down", "code": 503}}'), "provider_unavailable"),
        (raw("<html>Bad gateway</html>", status=502, content_type="text/html"), "provider_unavailable"),
        (raw('{"choices": []}'), "empty_answer"),
        (raw('{"choices": null}'), "empty_answer"),
        (said(None), "empty_answer"),
        (said(" \n"), "empty_answer"),
    ],
)
async def test_transient(stub: Stub, make: MakeContext, reply: web.Response, kind: str) -> None:
    stub.script(reply)
    error = await failure(make, stub.url)
    assert error.type == kind
    assert isinstance(error, TransientError)


async def test_an_answer_that_never_comes(stub: Stub, make: MakeContext) -> None:
    stub.script(None)
    error = await failure(make, stub.url, llm_timeout=timedelta(seconds=0.2))
    assert isinstance(error, Unreachable)
    assert error.type == "provider_timeout"


async def test_an_answer_that_drips_for_ever(make: MakeContext) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(make, f"http://127.0.0.1:{port}/v1", llm_timeout=timedelta(seconds=0.3))
        assert error.type == "provider_timeout"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"hello?\r\n\r\n"])
async def test_a_connection_that_breaks_is_no_timeout(make: MakeContext, said: bytes) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(make, f"http://127.0.0.1:{port}/v1")
    assert (error.type, error.retryable) == ("provider_unavailable", True)
    assert not getattr(error, "refused", False)  # it was received, and may be at fault


async def test_nobody_listens(make: MakeContext) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await failure(make, f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert error.type == "provider_unavailable"


async def test_the_message_names_cause_status_and_request(stub: Stub, make: MakeContext) -> None:
    stub.script(refused(400, {"x-request-id": "req_42"}, message="top_p is odd", code="odd", param="top_p"))
    message = (await failure(make, stub.url)).message
    assert message == "the provider answered HTTP 400, code odd, param top_p, request id req_42: top_p is odd"


@pytest.mark.parametrize("quoted", [PROMPT, f"Wrong key: {SECRET}", f"Bad: {PROMPT[3:50]!r}"])
async def test_a_message_that_quotes_a_secret_is_left_out(stub: Stub, make: MakeContext, quoted: str) -> None:
    stub.script(refused(400, message=quoted))
    assert (await failure(make, stub.url)).message == "the provider answered HTTP 400"


async def test_cancelling_closes_the_socket(stub: Stub, make: MakeContext) -> None:
    stub.script(None)
    ctx = make(stub.url)
    task = asyncio.create_task(ctx.provider.chat(ASK))
    await stub.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ctx.usage.requests == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ends", ["cancelled", "in time"])
async def test_a_request_that_ends_while_it_connects_was_none(make: MakeContext, ends: str, *, stream: bool) -> None:
    connecting = asyncio.Event()

    async def shake_no_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connecting.set()
        await reader.read()  # to its end: nothing of TLS is said
        writer.close()

    async with await asyncio.start_server(shake_no_hands, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ctx = make(url, llm_timeout=timedelta(seconds=60 if ends == "cancelled" else 0.3))
        task = asyncio.create_task(ctx.provider.chat(ASK, stream=stream))
        await connecting.wait()
        if ends == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if ends == "cancelled" else Unreachable) as caught:
            await task
    assert ctx.usage.requests == 0
    assert not getattr(caught.value, "paid", False)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_end_is_not_read(
    stub: Stub, make: MakeContext, monkeypatch: pytest.MonkeyPatch, status: int, *, stream: bool
) -> None:
    monkeypatch.setattr("tandem.llm_worker.providers.openai_compatible.bounded.MOST_BYTES", 10_000)
    ctx = make(stub.url)
    stub.script(said("short"), raw("x" * 10_001, status=status))
    await ctx.provider.chat(ASK, stream=stream)
    with pytest.raises(FinalError, match="answered with more than 64 MB") as caught:
        await ctx.provider.chat(ASK, stream=stream)
    assert caught.value.type == "answer_too_large"
