"""Streamed answers: the same answer as in one piece, or an error; and the deltas on their way to the events."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.deltas import Deltas
from tandem.llm_worker.handlers.chat import chat
from tandem.llm_worker.handlers.extract import extract
from tandem.llm_worker.handlers.summarize import summarize
from tandem.llm_worker.providers.errors import ContextTooLong
from tandem.llm_worker.providers.openai_compatible.stream import SseDecoder
from tandem.shared.config.file import Config
from tandem.shared.errors import JobError, StoreUnavailable, TransientError
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.tasks.catalog.llm import (
    ChatInput,
    ChatOutput,
    ExtractInput,
    Message,
    SummarizeInput,
    SummarizeOutput,
)
from tests.support.llm_attempts import SECRET, MakeContext, run
from tests.support.servers.llmock import LlMock
from tests.support.servers.provider_stub import Pieces, Reply, Stub, chunk, eventually, raw, refused, said

HELLO = [Message(role="user", content="Hello there")]
ASK = ChatInput(messages=HELLO, max_output_tokens=9)
DONE = "data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
WHOLE = (chunk("Good "), chunk("morning."), chunk(finish="stop"), chunk(choices=[], usage=USAGE), DONE)


class Log:
    """What readers of the job's events see."""

    def __init__(self, ctx: LlmContext) -> None:
        self.entries: list[tuple[Kind, dict[str, Any]]] = []
        self.writes = 0
        ctx.append = self.append

    async def append(self, entries: Sequence[tuple[Kind, dict[str, Any]]]) -> bool:
        self.writes += 1
        self.entries += entries
        return True

    @property
    def text(self) -> str:
        """The deltas since the last beginning of an attempt."""
        text = ""
        for kind, data in self.entries:
            text = "" if kind is Kind.ATTEMPT else text + data["text"]
        return text


@pytest.mark.parametrize("text", ["Good morning, Vietnam! 🙂 語", "one"])
async def test_a_streamed_answer_is_the_same_answer(mock: LlMock, make: MakeContext, text: str) -> None:
    mock.reply(text, text)
    ctx = make(mock.url)
    log = Log(ctx)
    streamed = await run(chat, ctx, ASK, ChatOutput)
    assert log.text == text
    plain = make(mock.url)
    assert streamed == await run(chat, plain, ASK, ChatOutput)
    assert ctx.usage == plain.usage
    assert ctx.usage.output_tokens > 0
    assert [body.get("stream", False) for body in mock.bodies] == [True, False]


@pytest.mark.parametrize(
    "pieces",
    [
        WHOLE,
        ["".join(WHOLE)],
        [char for event in WHOLE for char in event],
        [event.replace("\n", "\r\n") for event in WHOLE],
        [": keep-alive\n\n", *WHOLE],
        ["event: x\nid: 1\n", *WHOLE],
        [*WHOLE[:-1], "data: [DONE]"],
    ],
    ids=["events", "at once", "by letters", "CRLF", "comments", "fields", "no last line end"],
)
async def test_however_it_is_cut(stub: Stub, make: MakeContext, pieces: Sequence[str]) -> None:
    stub.script(Pieces(*pieces))
    ctx = make(stub.url)
    log = Log(ctx)
    answer = await run(chat, ctx, ASK, ChatOutput)
    assert (answer.text, log.text, answer.finish_reason) == ("Good morning.", "Good morning.", "stop")
    assert ctx.usage == Usage(input_tokens=3, output_tokens=2, requests=1)


async def test_usage_null_counts_the_request(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(chunk("Hi."), chunk(finish="length"), DONE))
    ctx = make(stub.url)
    Log(ctx)
    assert (await run(chat, ctx, ASK, ChatOutput)).finish_reason == "length"
    assert ctx.usage == Usage(requests=1)


BROKEN: list[tuple[Reply, str]] = [
    (Pieces(*WHOLE[:2]), "provider_unavailable"),
    (Pieces(*WHOLE[:3]), "provider_unavailable"),
    (Pieces(*WHOLE[:2], DONE), "provider_unavailable"),
    (Pieces(*WHOLE[:2], breaks=True), "provider_unavailable"),
    (Pieces(*WHOLE[:2], chunk(finish="error"), DONE), "provider_unavailable"),
    (Pieces(*WHOLE[:2], hangs=True), "provider_timeout"),
    (Pieces(WHOLE[0], "data: {oops\n\n", *WHOLE[1:]), "provider_garbage"),
    (Pieces(WHOLE[0], "data: 3\n\n", *WHOLE[1:]), "provider_garbage"),
    (Pieces(*WHOLE[:3], "data: [DO\n\n"), "provider_garbage"),
    (Pieces(WHOLE[0], 'data: {"error": {"message": "Overloaded", "code": 503}}\n\n'), "provider_unavailable"),
    (Pieces(WHOLE[0], chunk(error={"message": "Overloaded", "code": 503}), DONE), "provider_unavailable"),
    (Pieces(), "provider_unavailable"),
    (Pieces(chunk(finish="stop"), DONE), "empty_answer"),
    (refused(500), "provider_unavailable"),
    (raw("{oops"), "provider_garbage"),
]


@pytest.mark.parametrize(("reply", "kind"), BROKEN)
async def test_a_stream_that_breaks_is_no_short_answer(stub: Stub, make: MakeContext, reply: Reply, kind: str) -> None:
    stub.script(reply)
    patience = "0.2s" if isinstance(reply, Pieces) and reply.hangs else "30s"
    config = {"providers": {"p": {"base_url": stub.url, "stall_timeout": patience}}}
    ctx = make("http://unused", config=Config.model_validate(config))
    Log(ctx)
    with pytest.raises(TransientError) as caught:
        await chat(ctx, ASK)
    assert caught.value.type == kind
    assert ctx.usage.requests == 1
    assert "Hello there" not in caught.value.message
    if isinstance(reply, Pieces) and kind != "empty_answer" and not (reply.hangs or reply.breaks):
        assert "request id req_7" in caught.value.message


async def test_a_stream_that_drips_for_ever(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(*[": wait\n\n"] * 100, pause=0.02))
    ctx = make(stub.url, llm_timeout=timedelta(seconds=0.3))
    Log(ctx)
    with pytest.raises(TransientError, match=r"no complete answer from 127\.0\.0\.1 within 0\.3 s") as caught:
        await chat(ctx, ASK)
    assert caught.value.type == "provider_timeout"


@pytest.mark.parametrize("finish", ["content_filter"])
async def test_a_filter_in_mid_stream_is_final(stub: Stub, make: MakeContext, finish: str) -> None:
    stub.script(Pieces(chunk("Bad "), chunk(finish=finish), DONE))
    ctx = make(stub.url)
    Log(ctx)
    with pytest.raises(JobError) as caught:
        await chat(ctx, ASK)
    assert (caught.value.type, caught.value.retryable) == ("content_filtered", False)


async def test_cancelling_closes_the_stream(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(WHOLE[0], hangs=True))
    ctx = make(stub.url)
    log = Log(ctx)
    task = asyncio.ensure_future(chat(ctx, ASK))
    await eventually(lambda: log.text)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: stub.left is not None)
    assert stub.left


async def test_a_connection_is_used_again(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(*WHOLE))
    ctx = make(stub.url)
    Log(ctx)
    for _ in range(3):
        await chat(ctx, ASK)
    assert len(stub.peers) == 1


# --- servers that know less


@pytest.mark.parametrize(
    ("refusal", "option"),
    [
        (refused(400, param="stream_options", message="Unknown parameter"), "stream_options"),
        (refused(422, message="body.stream_options: extra inputs are not permitted"), "stream_options"),
        (refused(400, param="stream", code="unsupported_value", message="You must be verified to stream"), "stream"),
    ],
)
async def test_what_a_server_refuses_is_left_out_from_then_on(
    stub: Stub, make: MakeContext, refusal: web.Response, option: str
) -> None:
    answer: Reply = said("Good morning.") if option == "stream" else Pieces(*WHOLE)
    stub.script(refusal, answer)
    ctx = make(stub.url)
    log = Log(ctx)
    for _ in range(2):
        assert (await run(chat, ctx, ASK, ChatOutput)).text == log.text == "Good morning."
    assert [option in body for body in stub.bodies] == [True, False, False]
    assert ["stream" in body for body in stub.bodies] == [True, *[option != "stream"] * 2]


async def test_a_server_that_does_not_stream_after_all(stub: Stub, make: MakeContext) -> None:
    stub.script(said("Good morning.", usage=USAGE))
    ctx = make(stub.url)
    log = Log(ctx)
    assert (await run(chat, ctx, ASK, ChatOutput)).text == log.text == "Good morning."
    assert ctx.usage.output_tokens == 2


async def test_a_fallback_after_a_broken_stream_begins_anew(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(chunk("Bad "), breaks=True, pause=0.1), Pieces(*WHOLE))
    models = {"a": {"fallbacks": ["b"]}, "b": {}}
    config = Config.model_validate({"providers": {"p": {"base_url": stub.url}}, "models": models})
    ctx = make("http://unused", config=config, model="a")
    log = Log(ctx)
    await chat(ctx, ASK)
    assert log.entries[0] == (Kind.DELTA, {"text": "Bad "})
    assert (Kind.ATTEMPT, {"attempt": 1}) in log.entries
    assert log.text == "Good morning."


# --- tasks


async def test_only_the_last_call_of_a_summary_is_streamed(stub: Stub, make: MakeContext) -> None:
    stub.script(said("It rained."))
    ctx = make(stub.url, context_window=512)
    log = Log(ctx)
    text = "\n\n".join(f"On day {n} it rained a little, and then it cleared." for n in range(80))
    output = await run(summarize, ctx, SummarizeInput(text=text), SummarizeOutput)
    assert output.summary == log.text == "It rained."
    assert [body.get("stream", False) for body in stub.bodies] == [False] * (len(stub.bodies) - 1) + [True]


async def test_raw_json_is_not_streamed(stub: Stub, make: MakeContext) -> None:
    stub.script(said('{"a": 1}'))
    ctx = make(stub.url)
    log = Log(ctx)
    await extract(ctx, ExtractInput.model_validate({"text": "a is 1", "schema": {"type": "object"}}))
    assert log.entries == []
    assert not stub.bodies[0].get("stream")


async def test_a_prompt_beyond_the_window_is_one_final_error(servers: Any, make: MakeContext) -> None:
    mock = servers("--context-window", "256")
    ctx = make(mock.url)
    Log(ctx)
    with pytest.raises(ContextTooLong, match="HTTP 400") as caught:
        await chat(ctx, ChatInput(messages=[Message(role="user", content="word " * 2000)]))
    assert not caught.value.retryable
    assert len(mock.records) == 1
    assert SECRET not in caught.value.message


# --- reading events


def test_a_line_without_an_end_is_refused() -> None:
    events = SseDecoder()
    assert list(events.feed(b"x" * 2**20)) == []
    with pytest.raises(TransientError, match="no end"):
        list(events.feed(b"x"))


def test_data_of_several_lines_and_bytes_that_are_no_text() -> None:
    events = SseDecoder()
    assert list(events.feed(b"data: a\ndata:b\n\nda")) == ["a\nb"]
    assert list(events.feed(b"ta: \xe8\xaa")) == []
    assert list(events.feed(b"\x9e\n\n")) == ["語"]
    with pytest.raises(TransientError, match="UTF-8"):
        list(events.feed(b"data: \xff\n\n"))


# --- deltas


async def test_thousands_of_pieces_are_tens_of_writes() -> None:
    written: list[str] = []

    async def emit(text: str, *, first: bool) -> bool:
        assert first == (not written)
        written.append(text)
        return True

    async with Deltas(emit, every=timedelta(milliseconds=20)) as deltas:
        for n in range(2000):
            deltas.add(f"{n} ")
            if n % 200 == 0:
                await asyncio.sleep(0.01)
    assert "".join(written) == "".join(f"{n} " for n in range(2000))
    assert 2 <= len(written) <= 20


@pytest.mark.parametrize("fault", ["away", "slow", "lease lost"])
async def test_a_write_that_fails_is_the_last(fault: str) -> None:
    written: list[str] = []

    async def emit(text: str, *, first: bool) -> bool:  # noqa: ARG001
        written.append(text)
        if len(written) == 1:
            return True
        if fault == "away":
            raise StoreUnavailable("away")
        if fault == "slow":
            await asyncio.sleep(60)
        return False

    every = timedelta(milliseconds=1)
    async with asyncio.timeout(30), Deltas(emit, every=every, patience=timedelta(seconds=0.1)) as deltas:
        for text in ("a", "b", "c"):
            deltas.add(text)
            await asyncio.sleep(0.15)
    assert written == ["a", "b"]
    assert deltas.text == "abc"


async def test_an_answer_that_failed_waits_for_no_write() -> None:
    async def emit(text: str, *, first: bool) -> bool:  # noqa: ARG001
        await asyncio.sleep(60)
        return True

    async def fail() -> None:
        async with Deltas(emit) as deltas:
            deltas.add("a")
            await asyncio.sleep(0)
            raise ZeroDivisionError

    async with asyncio.timeout(30):
        with pytest.raises(ZeroDivisionError):
            await fail()
