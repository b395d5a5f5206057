"""What stands around an answer in odd dialects costs neither the answer nor a part of it."""

import json
from base64 import b64encode
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.handlers.embed import MOST_TEXTS, embed
from tandem.shared.errors import JobError
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput, Message
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.provider_stub import Pieces, Stub, chunk, raw, said

ASK = [Message(role="user", content="Hello there")]
DONE = "data: [DONE]\n\n"
BOM = "\ufeff"


def numbered(index: Any, text: str | None, finish: str | None = None) -> str:
    return chunk(choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish}])


@pytest.mark.parametrize(
    "pieces",
    [
        [BOM + chunk("Good "), chunk("morning.", finish="stop"), DONE],
        [numbered("0", "Good "), numbered("1", "Other."), numbered("0", "morning.", "stop"), DONE],
        [numbered([], "Good "), numbered({}, "morning.", "stop"), DONE],
        [chunk("Good ", error={"message": "", "type": "", "code": None}), chunk("morning.", finish="stop"), DONE],
        [(chunk("Good ") + chunk("morning.", finish="stop") + DONE).replace("\n", "\r\n")],
        [chunk("Good "), chunk("morning.", finish="stop"), DONE, DONE, chunk(" Again.")],
    ],
)
async def test_a_stream_is_whole(stub: Stub, make: MakeContext, pieces: list[str]) -> None:
    for way in (pieces, ["".join(pieces)], list("".join(pieces))):
        stub.script(Pieces(*way))
        assert (await make(stub.url).provider.chat(ASK, stream=True)).text == "Good morning."


@pytest.mark.parametrize(
    ("odd", "mended"), [("Hi \ud83d\ude00 there", "Hi \U0001f600 there"), ("Hi \ud83d there", "Hi \ufffd there")]
)
async def test_half_a_character_is_shown_as_missing(stub: Stub, make: MakeContext, odd: str, mended: str) -> None:
    stub.script(said(odd))
    assert (await make(stub.url).provider.chat(ASK)).text == mended
    # A chunk without choices is looked at once more, for an error.
    stub.script(Pieces(chunk(choices=[], id="\ud83d"), chunk(odd), chunk(finish="stop"), DONE))
    assert (await make(stub.url).provider.chat(ASK, stream=True)).text == mended


async def test_a_body_with_a_byte_order_mark(stub: Stub, make: MakeContext) -> None:
    stub.script(raw(BOM + (said("Hi.").text or "")))
    assert (await make(stub.url).provider.chat(ASK)).text == "Hi."


@pytest.mark.parametrize("body", ["[" * 100_000, '{"choices": [' + "9" * 5000 + "]}", '{"a": "\\ud83d'])
async def test_what_can_not_be_mended_is_garbage(stub: Stub, make: MakeContext, body: str) -> None:
    for reply in (raw(body), Pieces(f"data: {body}\n\n")):
        stub.script(reply)
        with pytest.raises(JobError) as caught:
            await make(stub.url).provider.chat(ASK, stream=isinstance(reply, Pieces))
        assert caught.value.type == "provider_garbage"


@pytest.mark.parametrize("error", [{}, {"message": "", "type": "", "param": "", "code": None}, {"code": 0}])
async def test_an_error_that_says_nothing_is_none(stub: Stub, make: MakeContext, error: Any) -> None:
    body = json.loads(said("Hi.").text or "") | {"error": error}
    stub.script(web.json_response(body))
    assert (await make(stub.url).provider.chat(ASK)).text == "Hi."


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_no_model_writes_is_not_kept(stub: Stub, make: MakeContext, *, stream: bool) -> None:
    part = "x" * 1_000_000
    pieces = Pieces(*[chunk(part)] * 16, chunk("x", finish="stop"), DONE)
    stub.script(pieces if stream else said(part * 16 + "x"))
    with pytest.raises(JobError) as caught:
        await make(stub.url).provider.chat(ASK, stream=stream)
    assert caught.value.type == "provider_garbage"


async def test_a_content_that_is_one_part(stub: Stub, make: MakeContext) -> None:
    part: Any = {"type": "text", "text": "Hi."}
    stub.script(said(part))
    assert (await make(stub.url).provider.chat(ASK)).text == "Hi."


async def test_json_by_another_spelling_of_its_type_is_no_stream(stub: Stub, make: MakeContext) -> None:
    body = said("Hi.").body
    stub.script(lambda _: web.Response(body=body, headers={"Content-Type": "Application/JSON;charset=utf-8"}))
    assert (await make(stub.url).provider.chat(ASK, stream=True)).text == "Hi."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ["the maximum context length is 4096", {"message": "prompt is too long"}])
async def test_too_long_is_understood_with_http_200(stub: Stub, make: MakeContext, error: Any, *, stream: bool) -> None:
    body = json.dumps({"error": error})
    stub.script(Pieces(f"event: error\ndata: {body}\n\n") if stream else raw(body))
    with pytest.raises(JobError) as caught:
        await make(stub.url).provider.chat(ASK, stream=stream)
    assert caught.value.type == "context_too_long"


def vectors(asked: dict[str, Any], index: Any) -> web.Response:
    return web.json_response({"data": [{"embedding": [float(text)], "index": index(text)} for text in asked["input"]]})


@pytest.mark.parametrize("index", [lambda _: 0, lambda _: "0", lambda text: str(int(text) - 1), lambda _: [1]])
async def test_vectors_keep_their_order(stub: Stub, make: MakeContext, index: Any) -> None:
    stub.script(lambda asked: vectors(asked, index))
    output = await run(embed, make(stub.url), EmbedInput(texts=["1", "2", "3"]), EmbedOutput)
    assert output.embeddings == [[1], [2], [3]]


async def test_vectors_of_two_requests_are_of_one_length(stub: Stub, make: MakeContext) -> None:
    def odd(asked: dict[str, Any]) -> web.Response:
        vector = [0.5] * (2 if len(asked["input"]) == MOST_TEXTS else 3)
        return web.json_response({"data": [{"embedding": vector} for _ in asked["input"]]})

    stub.script(odd)
    with pytest.raises(JobError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["a"] * (MOST_TEXTS + 1)), EmbedOutput)
    assert caught.value.type == "provider_garbage"


@pytest.mark.parametrize(
    "vector", [b64encode(b"12345").decode(), "AAA", "!!!", "", "ä", [float("nan")], [None], [], {}]
)
async def test_vectors_that_are_none(stub: Stub, make: MakeContext, vector: Any) -> None:
    stub.script(raw(json.dumps({"data": [{"embedding": vector}]})))
    with pytest.raises(JobError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["a"]), EmbedOutput)
    assert caught.value.type == "provider_garbage"
