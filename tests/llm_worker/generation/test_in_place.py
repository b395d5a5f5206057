"""A job of several requests: only its first one gives it back; later ones wait in place, and lose no answer."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import user
from tandem.llm_worker.handlers.embed import embed
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.llm_worker.rate_limit.time_limit import limited, wait
from tandem.shared.errors import JobError, RateLimited, Snooze
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.provider_stub import Stub, refused, said

HELLO = [user("hello")]
BUSY = refused(429, {"retry-after-ms": "200"}, message="slow down")
BROKEN = refused(500, message="broken")


def gated(make: MakeContext, limiter: Limiter, stub: Stub, *, job: str = "01", **limits: int) -> LlmContext:
    ctx = make(stub.url, gate=RateLimitedGate(limiter, Scopes({"127.0.0.1": Limits(**limits)}, {})))
    ctx.job_id = job
    return ctx


def vectors(body: dict[str, Any]) -> web.Response:
    return web.json_response({"data": [{"index": n, "embedding": [1.0]} for n in range(len(body["input"]))]})


async def test_an_idle_limit_lets_a_job_of_several_requests_end(
    make: MakeContext, limiter: Limiter, stub: Stub
) -> None:
    stub.script(vectors)
    ctx = gated(make, limiter, stub, rpm=60)
    output = await run(embed, ctx, EmbedInput(texts=["text"] * 2048), EmbedOutput)
    assert (len(output.embeddings), len(stub.bodies), ctx.usage.requests) == (2048, 4, 4)


async def test_the_first_request_alone_gives_the_job_back(make: MakeContext, limiter: Limiter, stub: Stub) -> None:
    stub.script(refused(429, {"retry-after": "20"}, message="slow down"), vectors)
    with pytest.raises(RateLimited):
        await gated(make, limiter, stub, job="02").provider.embed(["text"])
    with pytest.raises(Snooze) as snoozed:  # it is parked, and the attempt has nothing to lose
        await embed(gated(make, limiter, stub), EmbedInput(texts=["text"] * 2048))
    assert not snoozed.value.begun
    assert len(stub.bodies) == 1


@pytest.mark.parametrize("refusals", [[BUSY], [BROKEN], [BROKEN, BUSY, BROKEN]], ids=["429", "500", "all"])
async def test_a_refusal_in_the_midst_is_asked_again_in_place(
    make: MakeContext, limiter: Limiter, stub: Stub, refusals: list[web.Response]
) -> None:
    stub.script(said("first"), *refusals, said("second"))
    ctx = gated(make, limiter, stub)
    answers = [(await ctx.provider.chat(HELLO)).text for _ in range(2)]
    assert (answers, ctx.usage.requests) == (["first", "second"], 2 + len(refusals))


async def test_a_request_that_breaks_the_provider_each_time_is_given_up(
    make: MakeContext, limiter: Limiter, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.llm_worker.generation.client.MOST_FAILURES", 2)
    stub.script(said("first"), BROKEN)
    ctx = gated(make, limiter, stub)
    await ctx.provider.chat(HELLO)
    with pytest.raises(JobError, match="HTTP 500"):
        await ctx.provider.chat(HELLO)
    assert len(stub.bodies) == 3


async def test_requests_that_are_all_refused_give_the_job_back(make: MakeContext, limiter: Limiter, stub: Stub) -> None:
    stub.script(BUSY)
    ctx = gated(make, limiter, stub)
    with pytest.raises(RateLimited):
        await asyncio.wait_for(embed(ctx, EmbedInput(texts=["text"] * 2048)), 20)


async def test_the_time_limit_stands_still_while_a_request_waits() -> None:
    second = timedelta(seconds=1)
    async with limited(second / 5):
        await asyncio.gather(wait(second / 2), wait(second / 4))
        await wait(second / 4)


async def test_the_time_limit_is_for_the_work() -> None:
    second = timedelta(seconds=1)

    async def work() -> None:
        async with limited(second / 5):
            await wait(second / 4)
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        await work()
