"""Limits around real requests: the gate on a real server, the SDK against a stub, and whole worker processes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import user
from tandem.llm_worker.rate_limit.estimate import need_of
from tandem.llm_worker.rate_limit.gate import Reservation
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, RateLimited, Snooze
from tandem.shared.limits.model import Limits, RequestTooLarge
from tandem.shared.limits.scopes import Scopes
from tandem.shared.runtime.redis_client import AsyncClient, async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import LimitKey
from tests.support.chats import finished, submit
from tests.support.llm_attempts import KEY, MakeContext
from tests.support.processes import running
from tests.support.servers.provider_stub import Stub, eventually, refused, said

HELLO = [user("hello")]
USED = {"prompt_tokens": 40, "completion_tokens": 60}


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[AsyncClient]:
    async with async_client(valkey) as connection:
        yield connection


def gated(make: MakeContext, limiter: Limiter, stub: Stub, **limits: int) -> LlmContext:
    own = {"127.0.0.1": Limits(**limits)} if limits else {}
    return make(stub.url, gate=RateLimitedGate(limiter, Scopes(own, {})))


async def ahead(redis: AsyncClient, limiter: Limiter, field: str) -> float:
    """Seconds that a rate is ahead of now."""
    await limiter._batch.post({"op": "parks"})  # what was posted before is done
    value: Any = await cast("Any", redis.hget(LimitKey.LIMIT_LEVEL + "127.0.0.1", field))
    seconds, micros = (int(part) for part in await redis.time())
    return float(value or 0) / 1e6 - seconds - micros / 1e6


async def test_a_request_is_charged_what_the_provider_says(
    make: MakeContext, limiter: Limiter, redis: AsyncClient, stub: Stub
) -> None:
    stub.script(said("hi", usage=USED))
    ctx = gated(make, limiter, stub, tpm=60, rpm=600, concurrency=5)
    with pytest.raises(RequestTooLarge):
        await ctx.provider.chat(HELLO, max_output_tokens=59)
    ctx = gated(make, limiter, stub, tpm=600, rpm=600, concurrency=5)
    await ctx.provider.chat(HELLO, max_output_tokens=500)
    assert await ahead(redis, limiter, "tpm_tat") == pytest.approx(10, abs=1)  # 100 tokens at 10 a second
    assert await redis.zcard(LimitKey.LIMIT_HELD + "127.0.0.1") == 0
    assert len(stub.bodies) == 1


async def test_a_429_parks_the_model_and_names_the_time(make: MakeContext, limiter: Limiter, stub: Stub) -> None:
    stub.script(refused(429, {"retry-after-ms": "25000"}, message="slow down"), said("hi"))
    ctx = gated(make, limiter, stub)
    with pytest.raises(RateLimited) as limited:
        await ctx.provider.chat(HELLO)
    assert limited.value.retry_after == timedelta(seconds=25)
    ctx = gated(make, limiter, stub)  # another job
    with pytest.raises(Snooze) as snoozed:
        await ctx.provider.chat(HELLO)
    assert 10 < snoozed.value.delay.total_seconds() <= 25
    assert (await ctx.provider.chat(HELLO, model="another")).text == "hi"
    assert len(stub.bodies) == 2


async def test_a_429_without_a_word_parks_for_a_second(make: MakeContext, limiter: Limiter, stub: Stub) -> None:
    stub.script(refused(429, message="slow down"))
    with pytest.raises(RateLimited) as limited:
        await gated(make, limiter, stub).provider.chat(HELLO)
    assert limited.value.retry_after == timedelta(seconds=1)


async def test_a_refusal_uses_no_tokens_and_a_cut_connection_all_that_was_reserved(
    make: MakeContext, limiter: Limiter, redis: AsyncClient, stub: Stub
) -> None:
    stub.script(refused(500, message="broken"), said("hi"))
    ctx = gated(make, limiter, stub, tpm=6000)
    with pytest.raises(Exception, match="HTTP 500"):
        await ctx.provider.chat(HELLO, max_output_tokens=1000)
    assert await ahead(redis, limiter, "tpm_tat") < 0
    stub.script(None)
    stub.asked.clear()
    asking = asyncio.create_task(ctx.provider.chat(HELLO, max_output_tokens=1000))
    await stub.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await ahead(redis, limiter, "tpm_tat") == pytest.approx(10, abs=1)


async def test_calls_of_one_job_side_by_side_are_counted_each(
    make: MakeContext, limiter: Limiter, redis: AsyncClient, stub: Stub
) -> None:
    stub.script(said("hi", usage=USED))
    ctx = gated(make, limiter, stub, rpm=60_000)
    await asyncio.gather(*(ctx.provider.chat(HELLO) for _ in range(4)))
    await ahead(redis, limiter, "rpm_tat")
    assert float(await cast("Any", redis.hget(LimitKey.LIMIT_LEVEL + "127.0.0.1", "rpm_sent"))) == 4


async def test_each_request_of_a_negotiation_is_counted(
    make: MakeContext, limiter: Limiter, redis: AsyncClient, stub: Stub
) -> None:
    stub.script(refused(400, param="max_completion_tokens", message="Unknown parameter"), said("hi", usage=USED))
    ctx = gated(make, limiter, stub, rpm=60_000, tpm=6000, concurrency=1)
    await ctx.provider.chat(HELLO, max_output_tokens=3000)
    assert await ahead(redis, limiter, "tpm_tat") == pytest.approx(1, abs=0.5)  # 100 tokens, of the second alone
    assert float(await cast("Any", redis.hget(LimitKey.LIMIT_LEVEL + "127.0.0.1", "rpm_sent"))) == len(stub.bodies) == 2
    assert await redis.zcard(LimitKey.LIMIT_HELD + "127.0.0.1") == 0


@pytest.mark.slow
async def test_only_the_first_call_of_an_attempt_gives_the_job_back(
    make: MakeContext, limiter: Limiter, stub: Stub
) -> None:
    stub.script(said("hi", usage=USED))
    ctx = gated(make, limiter, stub)
    await ctx.provider.chat(HELLO)
    await limiter.park(Scopes({}, {}).scope("127.0.0.1", ctx.settings.model), timedelta(seconds=2))
    waiting = asyncio.create_task(ctx.provider.chat(HELLO))  # in its midst, an attempt waits
    with pytest.raises(Snooze):
        await gated(make, limiter, stub).provider.chat(HELLO)
    assert len(stub.bodies) == 1
    assert (await waiting).text == "hi"
    await eventually(lambda: not limiter.parked(Scopes({}, {}).scope("127.0.0.1", ctx.settings.model)))


async def test_what_only_the_operator_can_mend_is_said_once(
    make: MakeContext, limiter: Limiter, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.script(refused(429, code="insufficient_quota", message="no money"))
    ctx = gated(make, limiter, stub)
    for _ in range(3):
        with pytest.raises(FinalError, match="HTTP 429"):
            await ctx.provider.chat(HELLO)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["insufficient_quota" in record.getMessage() for record in errors] == [True]


def reservation(text: str, **more: Any) -> Reservation:
    usual: dict[str, Any] = {
        "job_id": "1",
        "tickets": Tickets(run="1:1"),
        "provider": "p",
        "model": "m",
        "embeds": False,
        "max_output_tokens": None,
        "begun": False,
    }
    return Reservation(texts=[text], **(usual | more))


def test_forecasts_are_the_same_in_every_process() -> None:
    text = "x" * 3000
    assert need_of(reservation(text, max_output_tokens=500)).tokens == 1504
    assert need_of(reservation(text, embeds=True)).tokens == 1004
    assert need_of(reservation(text)).tokens == 1260
    sorts = [need_of(reservation(text, **more)).sort for more in ({}, {"max_output_tokens": 500}, {"embeds": True})]
    assert len(set(sorts)) == 3


def test_the_file_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[providers.a]\ntpm = 7\n[providers.b]\nconcurrency = 3\n[models.m]\nrpm = 5\n")
    settings = Settings(_env_file=None, config=tmp_path / "t.toml", llm_rpm=600, llm_tpm=9, openai_api_key=KEY)
    scopes = Scopes.of(settings, default="a")
    assert scopes.scope("a", "x").provider_limits == Limits(rpm=600, tpm=7)
    assert scopes.scope("b", "m").levels() == [{"name": "b", "concurrency": 3}, {"name": "b:m", "rpm": 5}]


COUNT = 80


@pytest.mark.slow
async def test_processes_together_keep_the_limit(
    valkey: str, async_book: AsyncBook, stub: Stub, tmp_path: Path
) -> None:
    came: list[float] = []

    def reply(_: dict[str, Any]) -> web.Response:
        came.append(time.monotonic())
        return said("hi", usage=USED)

    stub.script(reply)
    env = {"REDIS_URL": valkey, "OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "k", "TANDEM_LLM_RPM": "1200"}
    with ExitStack() as stack:
        for n in range(3):
            await asyncio.to_thread(
                stack.enter_context, running("tandem.llm_worker", env=env, log=tmp_path / f"{n}.log", says="ready")
            )
        jobs = await finished(async_book, await submit(async_book, COUNT))
    assert {(str(job.status), job.attempt) for job in jobs} == {("succeeded", 1)}
    assert len(came) == COUNT
    # By the provider's clock, at which some may come late: 20 a second and a burst of 6.
    assert came[-1] - came[0] >= (COUNT - 6 - 1) / 20 - 0.5
