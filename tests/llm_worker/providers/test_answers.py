"""What surrounds an answer does not decide; what is wrong with it does, streamed or not."""

import json
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.handlers.embed import embed
from tandem.shared.errors import JobError
from tandem.shared.jobs.model import Usage
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput, Message
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.provider_stub import Pieces, Reply, Stub, chunk, refused, said

ASK = [Message(role="user", content="Hello there")]
DONE = "data: [DONE]\n\n"


def streamed(content: Any, **more: Any) -> Pieces:
    """The same answer as `said`, in a stream."""
    finish = more.pop("finish", "stop")
    return Pieces(chunk(content, finish=None, **more), chunk(finish=finish), DONE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 3.0, "completion_tokens": 1.5}, Usage(3, 2, 1)),
        ({"prompt_tokens": "three", "completion_tokens": 2}, Usage(0, 2, 1)),
        ({"prompt_tokens": 3, "completion_tokens": 2**70}, Usage(3, 0, 1)),
        ({"prompt_tokens": -3, "completion_tokens": 1e300}, Usage(0, 0, 1)),
        ({"prompt_tokens": True, "completion_tokens": [1]}, Usage(0, 0, 1)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2, 1)),
        ("none", Usage(0, 0, 1)),
        ([], Usage(0, 0, 1)),
    ],
)
async def test_odd_usage(stub: Stub, make: MakeContext, told: Any, usage: Usage, *, stream: bool) -> None:
    stub.script(streamed("Hi.", usage=told) if stream else said("Hi.", usage=told))
    ctx = make(stub.url)
    assert (await ctx.provider.chat(ASK, stream=stream)).text == "Hi."
    assert ctx.usage == usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [3, None, {"id": "m"}, ""])
async def test_an_odd_model(stub: Stub, make: MakeContext, model: Any, *, stream: bool) -> None:
    choice = {"index": None, "finish_reason": "stop", "logprobs": 3}
    whole = {
        "id": 7,
        "model": model,
        "choices": [choice | {"message": {"role": 1, "content": "Hi.", "tool_calls": None}}],
    }
    part = json.dumps(whole | {"choices": [choice | {"delta": {"content": "Hi.", "tool_calls": None}}]})
    stub.script(Pieces(f"data: {part}\n\n", DONE) if stream else web.json_response(whole))
    answer = await make(stub.url).provider.chat(ASK, model="asked", stream=stream)
    assert (answer.text, answer.model) == ("Hi.", "asked")


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    {"type": "text", "text": "Good "},
    {"type": "reasoning", "text": "So it is."},
    {"type": "text", "text": None},
    {"text": "morning."},
    3,
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("content", [PARTS, ["Good ", "morning."], [{"type": "output_text", "text": "Good morning."}]])
async def test_the_parts_that_are_text_are_the_text(
    stub: Stub, make: MakeContext, content: Any, *, stream: bool
) -> None:
    stub.script(streamed(content) if stream else said(content))
    assert (await make(stub.url).provider.chat(ASK, stream=stream)).text == "Good morning."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("error", "provider_unavailable"),
        ("network_error", "provider_unavailable"),
        ("insufficient_system_resource", "provider_unavailable"),
        ("abort", "provider_unavailable"),
        ("SAFETY", "content_filtered"),
        ("content_filter: RECITATION", "content_filtered"),
        ("sensitive", "content_filtered"),
        ("refusal", "refused"),
    ],
)
async def test_an_answer_that_did_not_end_well(
    stub: Stub, make: MakeContext, finish: str, kind: str, *, stream: bool
) -> None:
    stub.script(streamed("Half an ", finish=finish) if stream else said("Half an ", finish=finish))
    with pytest.raises(JobError) as caught:
        await make(stub.url).provider.chat(ASK, stream=stream)
    assert (caught.value.type, caught.value.retryable) == (kind, kind == "provider_unavailable")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("finish", "right"),
    [("eos", "stop"), ("STOP", "stop"), ("end_turn", "stop"), ("MAX_TOKENS", "length"), ("odd", "odd")],
)
async def test_finish_reasons_are_spelt_as_openai_does(
    stub: Stub, make: MakeContext, finish: str, right: str, *, stream: bool
) -> None:
    stub.script(streamed("Hi.", finish=finish) if stream else said("Hi.", finish=finish))
    assert (await make(stub.url).provider.chat(ASK, stream=stream)).finish_reason == right


async def test_events_that_are_no_chunks_are_skipped(stub: Stub, make: MakeContext) -> None:
    stub.script(
        Pieces(
            ": keep-alive\n\n",
            "data:\n\n",
            "data: \n\n",
            'event: ping\ndata: {"type": "ping"}\n\n',
            "data: {}\n\n",
            chunk("Good "),
            chunk("morning.", choices=None),
            chunk(choices=[{"index": 1, "delta": {"content": "Other."}}]),
            chunk(choices=[{"delta": None}]),
            chunk("morning.", finish=""),
            chunk(finish="stop"),
            'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n',
            DONE,
        )
    )
    ctx = make(stub.url)
    assert (await ctx.provider.chat(ASK, stream=True)).text == "Good morning."
    assert ctx.usage == Usage(3, 2, 1)


# --- embeddings


def floats(asked: dict[str, Any], **more: Any) -> web.Response:
    data = [{"embedding": [float(text), 1.0], **more} for text in asked["input"]]
    return web.json_response({"data": data, "usage": {"total_tokens": 4}})


def no_base64(asked: dict[str, Any], refusal: web.Response) -> web.Response:
    return refusal if asked.get("encoding_format") == "base64" else floats(asked)


@pytest.mark.parametrize(
    "refusal",
    [
        refused(400, param="encoding_format", message="Unsupported value"),
        refused(400, message="encoding_format must be float"),
        web.json_response({"detail": [{"loc": ["body", "encoding_format"], "msg": "No."}]}, status=422),
        web.json_response({"error": "base64 is not supported"}, status=400),
        web.json_response({"object": "list", "data": []}),
    ],
)
async def test_base64_that_a_server_does_not_know(stub: Stub, make: MakeContext, refusal: web.Response) -> None:
    stub.script(lambda asked: no_base64(asked, web.Response(body=refusal.body, status=refusal.status)))
    ctx = make(stub.url)
    for _ in range(2):
        output = await run(embed, ctx, EmbedInput(texts=["1", "2"]), EmbedOutput)
        assert output.embeddings == [[1.0, 1.0], [2.0, 1.0]]
    assert [body["encoding_format"] for body in stub.bodies] == ["base64", "float", "float"]
    assert ctx.usage == Usage(8, 0, 3)


async def test_a_server_that_knows_no_form_at_all(stub: Stub, make: MakeContext) -> None:
    extra = refused(422, param="encoding_format", message="Extra inputs are not permitted")
    stub.script(extra, extra, floats)
    output = await run(embed, make(stub.url), EmbedInput(texts=["1"]), EmbedOutput)
    assert output.embeddings == [[1.0, 1.0]]
    assert [body.get("encoding_format") for body in stub.bodies] == ["base64", "float", None]


@pytest.mark.parametrize("index", [None, "0", 1.5])
async def test_without_an_index_the_order_is_the_texts(stub: Stub, make: MakeContext, index: Any) -> None:
    stub.script(lambda asked: floats(asked, index=index))
    output = await run(embed, make(stub.url), EmbedInput(texts=["1", "2", "3"]), EmbedOutput)
    assert [vector[0] for vector in output.embeddings] == [1, 2, 3]


async def test_nothing_in_any_form_is_garbage(stub: Stub, make: MakeContext) -> None:
    reply: Reply = web.json_response({"data": []})
    stub.script(reply)
    with pytest.raises(JobError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["1"]), EmbedOutput)
    assert (caught.value.type, len(stub.bodies)) == ("provider_garbage", 2)
