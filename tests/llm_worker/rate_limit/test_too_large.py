"""A request that could never pass: split where the task can, else refused at once; it parks nobody."""

from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import user
from tandem.llm_worker.handlers.embed import embed
from tandem.llm_worker.handlers.summarize import summarize
from tandem.llm_worker.providers.errors import ContextTooLong
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.shared.errors import RateLimited
from tandem.shared.limits.model import Limits, RequestTooLarge
from tandem.shared.limits.scopes import Scopes
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput, SummarizeInput, SummarizeOutput
from tests.support.llm_attempts import LONG, MakeContext, run
from tests.support.servers.provider_stub import Stub, refused, said, text_of

HELLO = [user("hello")]
LITTLE = {"prompt_tokens": 5, "completion_tokens": 2}


def gated(make: MakeContext, limiter: Limiter, stub: Stub, **limits: int) -> LlmContext:
    return make(stub.url, gate=RateLimitedGate(limiter, Scopes({"127.0.0.1": Limits(**limits)}, {})))


async def test_a_text_beyond_a_minutes_tokens_is_summarised_in_parts(
    make: MakeContext, limiter: Limiter, stub: Stub
) -> None:
    stub.script(said("short.", usage=LITTLE))
    ctx = gated(make, limiter, stub, tpm=2000)
    output = await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)  # of about 2,100 tokens
    assert output.summary == "short."
    assert [body for body in stub.bodies if len(text_of(body)) > 2000 * 3] == []
    assert len(stub.bodies) == 4


async def test_texts_beyond_a_minutes_tokens_are_embedded_in_parts(
    make: MakeContext, limiter: Limiter, stub: Stub
) -> None:
    def vectors(body: dict[str, Any]) -> web.Response:
        data = [{"index": n, "embedding": [float(text[0])]} for n, text in enumerate(body["input"])]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 3}})

    stub.script(vectors)
    texts = [f"{n} " + "word " * 150 for n in range(4)]  # of about 255 tokens each
    output = await run(embed, gated(make, limiter, stub, tpm=600), EmbedInput(texts=texts), EmbedOutput)
    assert output.embeddings == [[0.0], [1.0], [2.0], [3.0]]
    assert [len(body["input"]) for body in stub.bodies] == [2, 2]
    with pytest.raises(RequestTooLarge, match=r"about 1\d\d tokens.* allows 60 a minute"):
        await embed(gated(make, limiter, stub, tpm=60), EmbedInput(texts=["word " * 60]))


@pytest.mark.parametrize(
    ("message", "is_too_large"),
    [
        ("Request too large for gpt-x on tokens per min (TPM): Limit 30000, Requested 33032.", True),
        ("Rate limit reached for `x` on tokens per minute (TPM): Limit 6000, Used 0, Requested 9,100.", True),
        ("Tokens per minute limit: 10,000; requested: 10,001", True),
        ("Rate limit reached for `x` on tokens per min (TPM): Limit 9,000, Used 8000, Requested 1,500.", False),
        ("Rate limit reached for requests. Limit: 3 / min. Please try again in 20s.", False),
        ("Requested 9000 tokens, slow down", False),
    ],
)
async def test_a_429_that_no_waiting_helps_parks_nobody(
    make: MakeContext, limiter: Limiter, stub: Stub, message: str, *, is_too_large: bool
) -> None:
    stub.script(refused(429, {"retry-after": "20"}, message=message))
    ctx = gated(make, limiter, stub)
    with pytest.raises(ContextTooLong if is_too_large else RateLimited, match="HTTP 429"):
        await ctx.provider.chat(HELLO)
    assert bool(ctx.router._gate.parked("127.0.0.1", ctx.settings.model)) is not is_too_large
