"""summarize: one call if it fits, map and reduce if not, and an end to it in any case."""

from datetime import timedelta

import pytest
from aiohttp import web

from tandem.llm_worker.handlers import summarize as module
from tandem.llm_worker.handlers.summarize import summarize
from tandem.shared.errors import FinalError, TransientError
from tandem.shared.tasks.catalog.llm import SUMMARIZE, SummarizeInput, SummarizeOutput
from tests.support.llm_attempts import LONG, MakeContext, run
from tests.support.servers.llmock import LlMock, Servers
from tests.support.servers.provider_stub import Stub, fits, refused, said, text_of


async def test_a_short_text_is_one_call(mock: LlMock, make: MakeContext) -> None:
    mock.reply("Queues decouple.")
    job = SUMMARIZE.input.model_validate(SUMMARIZE.example | {"style": "as a haiku"})
    assert (await run(summarize, make(mock.url), job, SummarizeOutput)).summary == "Queues decouple."
    assert len(mock.bodies) == 1
    prompt = text_of(mock.bodies[0])
    assert "20 words" in prompt
    assert "as a haiku" in prompt


async def test_a_long_text_is_split_and_merged(stub: Stub, make: MakeContext) -> None:
    stub.script(said("It rained.", usage={"prompt_tokens": 9, "completion_tokens": 3}))
    ctx = make(stub.url, context_window=512)
    output = await run(summarize, ctx, SummarizeInput(text=LONG, style="dry"), SummarizeOutput)
    assert output.summary == "It rained."
    parts = [text_of(body) for body in stub.bodies if "one part" in text_of(body)]
    assert len(parts) == len(stub.bodies) - 1 > 4
    # Nothing of the text is lost on the way to the model, and each part fits.
    assert all(any(paragraph in part for part in parts) for paragraph in LONG.split("\n\n"))
    assert max(len(part) // 4 for part in parts) < 512
    assert "dry" in text_of(stub.bodies[-1])
    assert text_of(stub.bodies[-1]).count("It rained.") == len(parts)
    assert stub.most <= module.AT_ONCE
    assert ctx.usage.output_tokens == 3 * len(stub.bodies)


@pytest.mark.parametrize("window", [256, 300, 1000])
async def test_with_llmocks_window(servers: Servers, make: MakeContext, window: int) -> None:
    mock = servers("--context-window", "256")
    ctx = make(mock.url, context_window=window)
    assert (await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)).summary
    failed = [record for record in mock.records if record["status"] != 200]
    assert bool(failed) == (window == 1000)


async def test_a_model_that_never_shortens_ends_nevertheless(stub: Stub, make: MakeContext) -> None:
    stub.script(lambda body: said(body["messages"][-1]["content"]))
    ctx = make(stub.url, context_window=300)
    await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)
    assert ctx.usage.requests < 200


async def test_a_part_that_the_provider_finds_too_long_is_split_again(stub: Stub, make: MakeContext) -> None:
    stub.script(fits(900))
    ctx = make(stub.url)
    assert (await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)).summary == "short."
    assert ctx.usage.requests < 60


async def test_a_provider_that_finds_everything_too_long(stub: Stub, make: MakeContext) -> None:
    stub.script(fits(0))
    ctx = make(stub.url)
    with pytest.raises(FinalError, match="HTTP 400") as caught:
        await run(summarize, ctx, SummarizeInput(text=LONG * 20), SummarizeOutput)
    assert caught.value.type == "context_too_long"
    assert ctx.usage.requests < 80


async def test_a_summary_cut_off_by_the_window_is_not_passed_on(stub: Stub, make: MakeContext) -> None:
    cut_off: list[web.Response] = [said("It rained and", finish="length"), said("It rained.")]
    stub.script(*cut_off)
    assert (await run(summarize, make(stub.url), SummarizeInput(text=LONG), SummarizeOutput)).summary == "It rained."


@pytest.mark.parametrize("text", ["x" * 5000, "語" * 2000, "🙂" * 1500, " " * 3000, "a b " * 1500])
async def test_texts_without_paragraphs(stub: Stub, make: MakeContext, text: str) -> None:
    stub.script(said("short."))
    ctx = make(stub.url, context_window=256)
    assert (await run(summarize, ctx, SummarizeInput(text=text), SummarizeOutput)).summary == "short."


async def test_a_style_that_leaves_no_room(stub: Stub, make: MakeContext) -> None:
    with pytest.raises(FinalError, match="style"):
        await run(
            summarize, make(stub.url, context_window=256), SummarizeInput(text="x", style="dry " * 200), SummarizeOutput
        )


async def test_a_failing_part_fails_the_job_as_it_is(
    stub: Stub, make: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.llm_worker.generation.client.PATIENCE", timedelta(seconds=1))
    stub.script(said("ok"), refused(429, {"retry-after": "3"}))
    with pytest.raises(TransientError) as caught:
        await run(summarize, make(stub.url, context_window=256), SummarizeInput(text=LONG), SummarizeOutput)
    assert caught.value.type == "rate_limited"
