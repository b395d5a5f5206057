"""A second kind of provider, in Anthropic's form: through the router, the limits and the handlers as they are.

It is what a sibling folder of `openai_compatible` would hold, as small as it can be; the server is a real one.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import user
from tandem.llm_worker.generation.structured import chat_json
from tandem.llm_worker.providers.base import (
    Call,
    ChatRequest,
    Completion,
    EmbedRequest,
    Model,
    OnPiece,
    Provider,
    Vectors,
)
from tandem.llm_worker.providers.capabilities import Capabilities
from tandem.llm_worker.providers.errors import BadRequest
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.config.file import Config
from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, JobError, RateLimited, Snooze, TransientError
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.limits.model import Limits, RequestTooLarge
from tandem.shared.limits.scopes import Scopes
from tests.support.servers.provider_stub import Pieces, Stub, raw, refused, serve_stub

HELLO = [user("Hello there")]


class MessageReader:
    """Reads `content_block_delta` and `message_delta` events until `message_stop`."""

    def __init__(self, exchange: Exchange) -> None:
        self.done = False
        self._exchange = exchange
        self._rest = b""
        self._text = ""

    @property
    def received(self) -> str:
        return self._text

    def feed(self, piece: bytes | None) -> str:
        *lines, self._rest = (self._rest + (piece or b"")).split(b"\n")
        return "".join(self._events(line for line in lines if line.startswith(b"data: ")))

    def _events(self, lines: Iterator[bytes]) -> Iterator[str]:
        for event in (json.loads(line[6:]) for line in lines):
            if event["type"] == "content_block_delta":
                self._text += event["delta"]["text"]
                yield event["delta"]["text"]
            elif event["type"] == "message_delta":
                self._exchange.usage = Usage(**event["usage"])
            self.done = event["type"] == "message_stop"

    def result(self) -> Completion:
        if not self.done:
            raise TransientError("the stream broke off", type="provider_unavailable")
        return Completion(self._text, "claude", "end_turn")


def read_message(content: bytes, exchange: Exchange) -> Completion:
    body = json.loads(content)
    exchange.usage = Usage(**body["usage"])
    return Completion(body["content"][0]["text"], body["model"], body["stop_reason"])


class Messages:
    """A `base.Provider`."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._http = aiohttp.ClientSession(headers={"x-api-key": "a-key"})
        self._url = url

    def chat(self, model: Model, request: ChatRequest, can: Capabilities) -> Call[Completion]:
        assert request.schema is None or can.json_schema
        messages = [message.model_dump() for message in request.messages]
        body: dict[str, Any] = {"model": model.name, "max_tokens": request.max_output_tokens or 64}
        body |= {"messages": messages, "stream": request.stream}
        if request.schema is not None:
            body["output_format"] = request.schema
        reader = MessageReader if request.stream else None
        return Call(path="/messages", body=body, private=request.texts, parse=read_message, reader=reader)

    def embed(self, model: Model, request: EmbedRequest, can: Capabilities) -> Call[Vectors]:  # noqa: ARG002
        raise FinalError(f"{self.name} has no embeddings: {model.name}, {len(request.texts)}", type="unknown_model")

    async def send(self, call: Call[Any], exchange: Exchange) -> bytes:
        async with self._post(call, exchange) as response:
            return await response.read()

    async def stream(self, call: Call[Any], exchange: Exchange, on_piece: OnPiece) -> bytes | None:
        async with self._post(call, exchange) as response:
            if response.content_type != "text/event-stream":
                return await response.read()
            async for piece in response.content.iter_any():
                on_piece(piece)
            on_piece(None)
            return None

    @asynccontextmanager
    async def _post(self, call: Call[Any], exchange: Exchange) -> AsyncIterator[aiohttp.ClientResponse]:
        exchange.sent = True
        async with self._http.post(self._url + call.path, json=call.body) as response:
            exchange.status = response.status
            exchange.headers = {name.lower(): value for name, value in response.headers.items()}
            yield response

    def classify(self, call: Call[Any], exchange: Exchange, content: bytes) -> JobError:
        said = json.loads(content)["error"]["message"]
        assert all(text not in said for text in call.private)
        if exchange.status == 429:
            return RateLimited(said, retry_after=timedelta(seconds=float(exchange.headers["retry-after"])))
        if exchange.status == 400:
            return BadRequest(said, parameter=said.partition(":")[0])
        return TransientError(said, type="provider_unavailable")

    def learn(self, error: BadRequest, call: Call[Any], can: Capabilities) -> Capabilities | None:
        refused = error.parameter == "output_format" and error.parameter in call.body
        return replace(can, json_schema=False) if refused else None

    async def aclose(self) -> None:
        await self._http.close()


def message(text: str) -> Any:
    usage = {"input_tokens": 40, "output_tokens": 60}
    body = {"content": [{"type": "text", "text": text}], "model": "claude", "stop_reason": "end_turn", "usage": usage}
    return raw(json.dumps(body))


def events(*texts: str) -> Pieces:
    deltas: list[dict[str, Any]] = [{"type": "content_block_delta", "delta": {"text": text}} for text in texts]
    end: list[dict[str, Any]] = [
        {"type": "message_delta", "usage": {"input_tokens": 3, "output_tokens": 2}},
        {"type": "message_stop"},
    ]
    return Pieces(*(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in [*deltas, *end]))


def attempt(settings: Settings, router: Router) -> LlmContext:
    return LlmContext(
        job_id="01", tickets=Tickets(run="01:1"), owner="ann", attempt=1, settings=settings, router=router
    )


@pytest.fixture
async def house(limiter: Limiter, stub: Stub) -> AsyncIterator[tuple[LlmContext, Stub, Stub]]:
    """An attempt whose first provider is of the second kind, with limits, and its fallback of the same kind."""
    models = {"big": {"provider": "first", "name": "claude", "fallbacks": ["small"]}, "small": {"provider": "second"}}
    async with serve_stub() as other:
        parts = {"first": {"base_url": stub.url}, "second": {"base_url": other.url}}
        settings = Settings(
            _env_file=None, config=Config.model_validate({"providers": parts, "models": models}), model="big"
        )
        gate = RateLimitedGate(limiter, Scopes({"first": Limits(tpm=6000, rpm=600)}, {}))
        providers: list[Provider] = [Messages("first", stub.url), Messages("second", other.url)]
        router = Router(providers, gate, settings)
        yield attempt(settings, router), stub, other
        await router.aclose()


async def test_it_answers_under_limits(house: tuple[LlmContext, Stub, Stub]) -> None:
    ctx, stub, _ = house
    stub.script(message("Good morning."))
    answer = await ctx.provider.chat(HELLO, max_output_tokens=9)
    assert (answer.text, answer.model, answer.finish_reason) == ("Good morning.", "claude", "end_turn")
    assert (stub.paths, stub.bodies[0]["model"], stub.bodies[0]["max_tokens"]) == (["/v1/messages"], "claude", 9)
    assert (ctx.usage, ctx.asked) == (Usage(40, 60, 1), "first")
    with pytest.raises(RequestTooLarge):
        await ctx.provider.chat(HELLO, max_output_tokens=6000)
    assert len(stub.bodies) == 1


async def test_its_429_parks_the_model(house: tuple[LlmContext, Stub, Stub]) -> None:
    ctx, stub, other = house
    stub.script(refused(429, {"retry-after": "20"}, message="slow down"))
    with pytest.raises(RateLimited) as caught:
        await ctx.provider.chat(HELLO)
    assert caught.value.retry_after == timedelta(seconds=20)
    ctx.usage = Usage()  # another attempt
    with pytest.raises(Snooze):
        await ctx.provider.chat(HELLO)
    assert (len(stub.bodies), len(other.bodies)) == (1, 0)


async def test_a_fallback_answers_for_it(house: tuple[LlmContext, Stub, Stub]) -> None:
    ctx, stub, other = house
    stub.script(refused(529, message="overloaded"))
    other.script(message("from the second"))
    assert (await ctx.provider.chat(HELLO)).text == "from the second"
    assert (ctx.asked, ctx.usage) == ("second", Usage(40, 60, 2))


async def test_it_streams(house: tuple[LlmContext, Stub, Stub]) -> None:
    ctx, stub, _ = house
    written: list[tuple[Kind, dict[str, Any]]] = []

    async def append(entries: Any) -> bool:
        written.extend(entries)
        return True

    ctx.append = append
    stub.script(events("Good ", "morning."))
    assert (await ctx.provider.chat(HELLO, stream=True)).text == "Good morning."
    assert "".join(data["text"] for _, data in written) == "Good morning."
    assert ctx.usage == Usage(3, 2, 1)


async def test_what_it_can_not_do_is_asked_in_plain_words_and_remembered(house: tuple[LlmContext, Stub, Stub]) -> None:
    ctx, stub, _ = house
    stub.script(refused(400, message="output_format: unknown"), message('{"a": 1}'))
    for _ in range(2):
        assert await chat_json(ctx, HELLO, schema={"type": "object"}, check=lambda value: value) == {"a": 1}
    assert ["output_format" in body for body in stub.bodies] == [True, False, False]
