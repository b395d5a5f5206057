"""embed: order, batches, halves, dimensions."""

import base64
import math
import struct
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.handlers import embed as module
from tandem.llm_worker.handlers.embed import batches, embed
from tandem.shared.errors import FinalError, JobError
from tandem.shared.tasks.catalog.llm import EMBED, EmbedInput, EmbedOutput
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.llmock import LlMock
from tests.support.servers.provider_stub import Stub, raw, refused


def vectors(body: dict[str, Any]) -> web.Response:
    """Each text is a number; its vector is [number, 1], sent in base64 and in reverse order."""
    data = [
        {"index": index, "embedding": base64.b64encode(struct.pack("<2f", float(text), 1)).decode()}
        for index, text in enumerate(body["input"])
    ]
    usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
    return web.json_response({"data": data[::-1], "usage": usage})


async def test_the_example(mock: LlMock, make: MakeContext) -> None:
    output = await run(embed, make(mock.url), EMBED.input.model_validate(EMBED.example), EmbedOutput)
    assert output.dimensions == 8
    assert [len(vector) for vector in output.embeddings] == [8, 8]
    # llmock ignores `dimensions`: cut and normalised here.
    assert math.hypot(*output.embeddings[0]) == pytest.approx(1)
    assert mock.bodies[0]["dimensions"] == 8


async def test_order_is_kept_over_batches(stub: Stub, make: MakeContext) -> None:
    stub.script(vectors)
    ctx = make(stub.url)
    output = await run(embed, ctx, EmbedInput(texts=[str(n) for n in range(2048)], model="e"), EmbedOutput)
    assert [vector[0] for vector in output.embeddings] == list(range(2048))
    assert (output.dimensions, ctx.usage.input_tokens, ctx.usage.requests) == (2, 2048, 4)
    assert {body["model"] for body in stub.bodies} == {"e"}
    assert stub.most <= module.AT_ONCE


async def test_order_is_kept_with_llmock(mock: LlMock, make: MakeContext) -> None:
    texts = [f"text {n}" for n in range(module.MOST_TEXTS + 2)]
    ctx = make(mock.url)
    both = await run(embed, ctx, EmbedInput(texts=texts, dimensions=4), EmbedOutput)
    last = await run(embed, ctx, EmbedInput(texts=texts[-1:], dimensions=4), EmbedOutput)
    assert both.embeddings[-1] == last.embeddings[0]
    assert len(both.embeddings) == len(texts)


async def test_a_batch_that_is_too_large_is_halved(stub: Stub, make: MakeContext) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        if len(body["input"]) > 3:
            return refused(400, message="Requested 9 tokens, max 3 tokens per request")
        return vectors(body)

    stub.script(reply)
    output = await run(embed, make(stub.url), EmbedInput(texts=[str(n) for n in range(10)]), EmbedOutput)
    assert [vector[0] for vector in output.embeddings] == list(range(10))


async def test_one_text_that_is_too_long_is_final(stub: Stub, make: MakeContext) -> None:
    stub.script(refused(400, message="This model's maximum context length is 8192 tokens"))
    with pytest.raises(FinalError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["1", "2", "3"]), EmbedOutput)
    assert caught.value.type == "context_too_long"


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        '{"data": []}',
        '{"data": [{"index": 1, "embedding": [1]}]}',
        '{"data": [{"index": 0, "embedding": []}]}',
        '{"data": [{"index": 0, "embedding": "abc"}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}]}',
        '{"data": [{"index": 0, "embedding": "AADAfw=="}]}',
    ],
)
async def test_garbage(stub: Stub, make: MakeContext, body: str) -> None:
    stub.script(raw(body))
    with pytest.raises(JobError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["1"]), EmbedOutput)
    assert (caught.value.type, caught.value.retryable) == ("provider_garbage", True)


async def test_more_dimensions_than_the_model_has(stub: Stub, make: MakeContext) -> None:
    stub.script(vectors)
    with pytest.raises(FinalError) as caught:
        await run(embed, make(stub.url), EmbedInput(texts=["1"], dimensions=3), EmbedOutput)
    assert caught.value.type == "wrong_dimensions"


async def test_a_failure_of_one_batch_is_raised_as_it_is(mock: LlMock, make: MakeContext) -> None:
    mock.script({"type": "fail", "status": 401})
    with pytest.raises(FinalError) as caught:
        await run(embed, make(mock.url), EmbedInput(texts=["x"] * 2048), EmbedOutput)
    assert caught.value.type == "invalid_credentials"


def test_batches_respect_count_and_tokens() -> None:
    texts = ["a" * 300_000, "b" * 300_000, "c" * 600_000, "d" * 900_000, *["e"] * 600]
    runs = batches(texts)
    assert [text for run in runs for text in run] == texts
    assert [len(run) for run in runs] == [2, 1, 1, 512, 88]
