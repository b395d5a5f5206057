"""An answer that is broken off has cost something, though no provider has told what."""

import asyncio
from pathlib import Path

import pytest

from tandem.llm_worker.tokens import estimate
from tandem.shared.errors import JobError
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.view import UsageView
from tandem.shared.store import commands, events
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.catalog.llm import Message
from tests.support.chats import WORDS, submit
from tests.support.jobs import TTL
from tests.support.llm_attempts import SECRET, MakeContext
from tests.support.processes import running
from tests.support.servers.provider_stub import Pieces, Stub, chunk, eventually, said

ASK = [Message(role="user", content="Tell me a story, please.")]
TEN = tuple(f"word {n} " for n in range(10))
COST = Usage(estimate(ASK[0].content), estimate("".join(TEN)), 1)


@pytest.mark.parametrize("how", ["cancelled", "ended too early"])
async def test_it_is_estimated_from_what_came(stub: Stub, make: MakeContext, how: str) -> None:
    stub.script(Pieces(*map(chunk, TEN), hangs=how == "cancelled"))
    ctx = make(stub.url)
    texts: list[str] = []

    async def append(entries: object) -> bool:
        texts.append(str(entries))
        return True

    ctx.append = append
    asked = asyncio.ensure_future(ctx.provider.chat(ASK, stream=True))
    if how == "cancelled":
        await eventually(lambda: "word 9" in "".join(texts))
        asked.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else JobError):
        await asked
    told = COST.input_tokens + COST.output_tokens
    assert ctx.usage == Usage(COST.input_tokens, COST.output_tokens, 1, estimated_tokens=told)


async def test_thoughts_cost_too(stub: Stub, make: MakeContext) -> None:
    thought = chunk(choices=[{"index": 0, "delta": {"reasoning_content": "word " * 9}}])
    stub.script(Pieces(thought, "data: [DONE]\n\n"))
    ctx = make(stub.url)
    with pytest.raises(JobError):
        await ctx.provider.chat(ASK, stream=True)
    assert ctx.usage.output_tokens == estimate("word " * 9)


async def test_what_the_provider_told_is_not_estimated(stub: Stub, make: MakeContext) -> None:
    stub.script(Pieces(chunk("word ", usage={"prompt_tokens": 3, "completion_tokens": 1}), "data: [DONE]\n\n"))
    ctx = make(stub.url)
    with pytest.raises(JobError):
        await ctx.provider.chat(ASK, stream=True)
    assert ctx.usage == Usage(3, 1, 1)
    stub.script(said("Hi.", usage={"prompt_tokens": 3, "completion_tokens": 1}))
    await ctx.provider.chat(ASK)
    assert ctx.usage == Usage(6, 2, 2)
    assert "estimated_tokens" not in UsageView(**vars(ctx.usage)).model_dump_json()


@pytest.mark.slow
async def test_a_cancelled_job_says_what_it_has_probably_cost(
    stub: Stub, async_book: AsyncBook, valkey: str, tmp_path: Path
) -> None:
    stub.script(Pieces(*map(chunk, TEN), hangs=True))
    env = {"REDIS_URL": valkey, "OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": SECRET, "RUN_DIR": str(tmp_path)}
    [job_id] = await submit(async_book, 1)

    async def streamed() -> str:
        return "".join(
            str(event.data) for event in await async_book.run(events.read(job_id, after=0)) if event.kind is Kind.DELTA
        )

    with running("tandem.llm_worker", env=env, log=tmp_path / "log", says="ready"):
        async with asyncio.timeout(60):
            while "word 9" not in await streamed():  # noqa: ASYNC110 - a worker writes it
                await asyncio.sleep(0.05)
            await async_book.run(commands.cancel(job_id, ttl=TTL))
            while not (job := await async_book.run(commands.fetch(job_id))) or not job.usage.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert job.status is Status.CANCELLED
    assert job.usage.output_tokens == estimate("".join(TEN))
    assert job.usage.input_tokens >= estimate(WORDS)
    assert job.usage.estimated_tokens == job.usage.input_tokens + job.usage.output_tokens
    shown = UsageView(**vars(job.usage)).model_dump()
    assert shown["estimated_tokens"] == job.usage.estimated_tokens
