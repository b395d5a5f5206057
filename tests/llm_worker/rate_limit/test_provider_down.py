"""A provider that is down: its model is parked for every worker, fallbacks are asked, and no attempt is burnt."""

import asyncio
import socket
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from aiohttp import web

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import user
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.shared.config.file import Config
from tandem.shared.errors import FinalError, Snooze, Unreachable
from tandem.shared.limits.numbers import DOWN
from tandem.shared.limits.scopes import Scopes
from tandem.shared.runtime.redis_client import AsyncClient, async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits.operations import Parked
from tests.support.chats import finished, submit
from tests.support.limits.limiter_script import SECOND, Clocked, scope
from tests.support.llm_attempts import MakeContext
from tests.support.processes import running
from tests.support.servers.provider_stub import Reply, Stub, refused, said, serve_stub

HELLO = [user("hello")]
BROKEN = refused(500, message="broken")
JOBS = 60


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


def of_job(make: MakeContext, limiter: Limiter, url: str, number: int, **more: Any) -> LlmContext:
    ctx = make(url, gate=RateLimitedGate(limiter, Scopes({}, {})), **more)
    ctx.job_id = str(number)
    return ctx


async def failures(make: MakeContext, limiter: Limiter, stub: Stub, *jobs: int) -> list[bool]:
    """Let each job fail once, one after the other; tells which failures were an outage."""
    down = []
    for number in jobs:
        with pytest.raises(Unreachable) as caught:
            await of_job(make, limiter, stub.url, number).provider.chat(HELLO)
        down.append(caught.value.down)
    return down


async def test_three_jobs_in_a_row_without_an_answer_park_the_model(
    make: MakeContext, limiter: Limiter, stub: Stub
) -> None:
    stub.script(BROKEN)
    assert await failures(make, limiter, stub, 1, 1, 1, 2, 3) == [False, False, False, False, True]
    waiting = asyncio.create_task(of_job(make, limiter, stub.url, 4).provider.chat(HELLO))
    await asyncio.sleep(0)
    with pytest.raises(Unreachable):
        await waiting  # it waited for the second to be over: the next pause is two
    assert limiter.parked(Scopes({}, {}).scope("127.0.0.1", "gpt-5-mini")) <= timedelta(seconds=2)
    with pytest.raises(Snooze):
        await of_job(make, limiter, stub.url, 5).provider.chat(HELLO)
    assert len(stub.bodies) == 6


@pytest.mark.parametrize("answer", [said("hi"), refused(400, message="odd"), refused(404)], ids=["200", "400", "404"])
async def test_any_answer_between_begins_the_count_anew(
    make: MakeContext, limiter: Limiter, stub: Stub, answer: web.Response
) -> None:
    stub.script(BROKEN, BROKEN, answer, BROKEN)
    assert await failures(make, limiter, stub, 1, 2) == [False, False]
    with suppress(FinalError):
        await of_job(make, limiter, stub.url, 3).provider.chat(HELLO)
    assert await failures(make, limiter, stub, 4, 5, 6) == [False, False, True]


@pytest.mark.parametrize("reply", [None, BROKEN], ids=["silence", "500"])
async def test_silence_counts_like_an_error_of_the_server(
    make: MakeContext, limiter: Limiter, stub: Stub, reply: Reply
) -> None:
    stub.script(reply)
    for number in (1, 2, 3):
        with pytest.raises(Unreachable) as caught:
            await of_job(make, limiter, stub.url, number, llm_timeout=timedelta(seconds=0.3)).provider.chat(HELLO)
    assert caught.value.down


async def test_a_refused_connection_is_no_fault_of_the_first_job(make: MakeContext, limiter: Limiter) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    with pytest.raises(Unreachable) as caught:
        await of_job(make, limiter, url, 1).provider.chat(HELLO)
    assert (caught.value.down, caught.value.retry_after) == (True, timedelta(seconds=1))


async def test_a_fallback_is_asked_at_once(make: MakeContext, limiter: Limiter, stub: Stub) -> None:
    stub.script(said("from the fallback"))
    providers = {"first": {"base_url": f"http://127.0.0.1:{closed_port()}/v1"}, "second": {"base_url": stub.url}}
    models = {"big": {"provider": "first", "fallbacks": ["small"]}, "small": {"provider": "second"}}
    config = Config.model_validate({"providers": providers, "models": models})
    gate = RateLimitedGate(limiter, Scopes({}, {}))
    for _ in range(3):
        ctx = make("http://unused", gate=gate, config=config)
        assert (await ctx.provider.chat(HELLO, model="big")).text == "from the fallback"
        assert (ctx.asked, ctx.usage.requests) == ("second", 1)
    assert gate.down("first", "big")


async def test_a_process_that_has_just_begun_asks_nobody_who_is_parked(
    make: MakeContext, valkey: str, limiter: Limiter, stub: Stub
) -> None:
    stub.script(said("from the fallback"))
    providers = {"first": {"base_url": stub.url}, "second": {"base_url": stub.url}}
    models = {"big": {"provider": "first", "fallbacks": ["small"]}, "small": {"provider": "second"}}
    config = Config.model_validate({"providers": providers, "models": models})
    scopes = Scopes({}, {})
    await limiter.park(scopes.scope("first", "big"), timedelta(minutes=5))
    async with async_client(valkey) as asks, async_client(valkey, timeout=None) as listens:
        begun = Limiter.open(AsyncBook(asks), listens)
        ctx = make("http://unused", gate=RateLimitedGate(begun, scopes), config=config)
        assert (await ctx.provider.chat(HELLO, model="big")).text == "from the fallback"
        assert [body["model"] for body in stub.bodies] == ["small"]
        await begun.aclose()


def test_pauses_grow_until_somebody_is_answered(valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        clocked = Clocked(client)

        def fail(job: str, *, refused: bool = False) -> int:
            [answer] = clocked.run({"op": "failed", "scope": scope().name, "job": job, "refused": refused})
            assert isinstance(answer, Parked)
            return answer.left // SECOND

        pauses: list[int] = []
        for _ in range(5):
            pauses.append(fail("1", refused=not pauses))
            assert fail("2") == pauses[-1]  # who was on the way says the same
            clocked.now += pauses[-1] * SECOND
        assert pauses == [1, 2, 4, 5, 5]
        [news] = clocked.run({"op": "parks"})
        assert [(park.kind, park.left) for park in cast("Any", news).parks] == [(DOWN, 0)]  # it is tried
        clocked.run({"op": "answered", "scope": scope().name})
        [news] = clocked.run({"op": "parks"})
        assert cast("Any", news).parks == []
        assert [fail("1"), fail("2"), fail("3")] == [0, 0, 1]
        [news] = clocked.run({"op": "parks"})
        assert [park.kind for park in cast("Any", news).parks] == [DOWN]


def test_a_failure_of_what_was_on_its_way_to_a_busy_model_is_its_job_s(valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        clocked = Clocked(client)

        def fail(job: str) -> int:
            [answer] = clocked.run({"op": "failed", "scope": scope().name, "job": job, "refused": False})
            return cast("Parked", answer).left // SECOND

        clocked.park(scope(), 3 * SECOND)
        assert [fail("1"), fail("2")] == [0, 0]
        clocked.now += 3 * SECOND
        assert fail("1")  # it has tried, and nobody answers yet


async def pauses(client: AsyncClient) -> int:
    counts = [await cast("Any", client.hget(key, "times")) async for key in client.scan_iter(f"{LimitKey.LIMIT_PARK}*")]
    return max((int(count or 0) for count in counts), default=0)


@pytest.mark.slow
async def test_an_outage_burns_no_attempt(valkey: str, async_book: AsyncBook, tmp_path: Path) -> None:
    port = closed_port()
    env = {"REDIS_URL": valkey, "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "k"}
    with ExitStack() as stack:
        for n in range(2):
            await asyncio.to_thread(
                stack.enter_context, running("tandem.llm_worker", env=env, log=tmp_path / f"{n}.log", says="ready")
            )
        ids = await submit(async_book, JOBS)
        async with asyncio.timeout(60), async_client(valkey) as client:
            while await pauses(client) < 4:  # noqa: ASYNC110 - another process counts them, in Redis
                await asyncio.sleep(0.05)
        async with serve_stub(port) as stub:
            stub.script(said("hi"))
            jobs = await finished(async_book, ids)
            assert len(stub.bodies) == JOBS
    assert {(str(job.status), job.attempt) for job in jobs} == {("succeeded", 1)}
    assert [entry for job in jobs for entry in job.attempts] == []
    logged = "".join((tmp_path / f"{n}.log").read_text() for n in range(2))
    assert " takes no requests (no connection); no attempt burnt" in logged
    assert " failed, " not in logged, "an outage of a provider is no failure of its jobs"
