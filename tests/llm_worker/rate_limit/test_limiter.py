"""The limiter of a process: several of them on one real server."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import cast

import pytest

from tandem.deploy.local.ports import free_port
from tandem.llm_worker.rate_limit.batch import MOST
from tandem.llm_worker.rate_limit.limiter import PATIENCE, Grant, Limiter, Wait
from tandem.llm_worker.rate_limit.parks import FIRST_NEWS
from tandem.llm_worker.rate_limit.tickets import LATE, Tickets
from tandem.shared.errors import Snooze
from tandem.shared.limits.model import Limits, RequestTooLarge, Scope, seen
from tandem.shared.runtime.redis_client import AsyncClient, async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key, LimitKey
from tests.support.limits.claims import Work, claim, models, store
from tests.support.processes import ROOT, clean_environment, until
from tests.support.servers.valkey import Valkey

FREE = Scope("p", "m")
ONE = Scope("p", "m", Limits(concurrency=1))

Open = Callable[[], Limiter]


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[AsyncClient]:
    async with async_client(valkey) as connection:
        yield connection


@pytest.fixture
async def limiters(valkey: str) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def build() -> Limiter:
            clients = async_client(valkey, connections=1), async_client(valkey, timeout=None, connections=1)
            limiter = Limiter.open(AsyncBook(clients[0]), clients[1])
            for connection in clients:
                stack.push_async_callback(connection.aclose)
            stack.push_async_callback(limiter.aclose)
            return limiter

        yield build


def run(name: str) -> Tickets:
    return Tickets(run=f"{name}:1")


async def eventually(check: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - the news have no event of their own
            await asyncio.sleep(0.01)


async def scripts_run(redis: AsyncClient) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_fcall", {}).get("calls", 0))


async def test_processes_share_the_limit(limiters: Open) -> None:
    a, b = limiters(), limiters()
    first = await a.acquire(ONE, ticket="1", tokens=0)
    assert isinstance(first, Grant)
    assert isinstance(await b.acquire(ONE, ticket="2", tokens=0), Wait)
    a.settle(first, tokens=0)
    async with asyncio.timeout(30), b.admitted(ONE, run("2"), tokens=0, may_snooze=False):
        assert isinstance(await a.acquire(ONE, ticket="3", tokens=0), Wait)


async def test_what_is_not_limited_costs_no_round_trip(limiters: Open, redis: AsyncClient) -> None:
    limiter = limiters()
    await redis.config_resetstat()
    for n in range(100):
        async with limiter.admitted(FREE, run(str(n)), tokens=10, may_snooze=True) as grant:
            limiter.settle(grant, tokens=10)
    assert await scripts_run(redis) <= 1  # the question for parks, when it opened


async def test_many_at_once_share_round_trips(limiters: Open, redis: AsyncClient) -> None:
    limiter, wide = limiters(), Scope("p", "m", Limits(rpm=600_000, tpm=60_000_000, concurrency=500))
    await limiter.acquire(wide, ticket="first", tokens=1)
    await redis.config_resetstat()
    grants = await asyncio.gather(*(limiter.acquire(wide, ticket=str(n), tokens=100) for n in range(200)))
    assert all(isinstance(grant, Grant) for grant in grants)
    assert await scripts_run(redis) <= 200 / MOST + 3


async def test_a_park_reaches_every_process(limiters: Open) -> None:
    a, b = limiters(), limiters()
    await eventually(lambda: a.parked(FREE) == b.parked(FREE) == timedelta())
    assert await a.park(FREE, timedelta(seconds=30)) == timedelta(seconds=30)
    await eventually(lambda: b.parked(FREE))
    late = limiters()  # opened after the news, and asked before it has heard any
    for limiter in (late, a, b):
        wait = await limiter.acquire(FREE, ticket=str(id(limiter)), tokens=0)
        assert isinstance(wait, Wait)
        assert (wait.reason, round(wait.delay.total_seconds())) == ("parked", 30)
        with pytest.raises(Snooze):
            async with limiter.admitted(FREE, run("job"), tokens=0, may_snooze=True):
                pytest.fail("it is parked")
    assert isinstance(await b.acquire(Scope("p", "other"), ticket="x", tokens=0), Grant)


@pytest.mark.slow  # it waits as long as it does
async def test_a_process_that_begins_while_redis_is_away_asks_all_the_same() -> None:
    clients = [async_client(f"redis://127.0.0.1:{free_port()}/0", retries=0) for _ in range(2)]
    limiter = Limiter.open(AsyncBook(clients[0]), clients[1])
    began = time.monotonic()
    async with asyncio.timeout(30):
        assert isinstance(await limiter.acquire(FREE, ticket="1", tokens=0), Grant)
    assert time.monotonic() - began >= FIRST_NEWS
    assert isinstance(await limiter.acquire(FREE, ticket="2", tokens=0), Grant)
    await limiter.aclose()
    for connection in clients:
        await connection.aclose()


@pytest.mark.slow  # one each second
async def test_a_limit_is_waited_for_in_place(limiters: Open, redis: AsyncClient) -> None:
    limiter, one_a_second, began = limiters(), Scope("p", "m", Limits(rpm=60)), time.monotonic()
    await redis.config_resetstat()

    async def request(name: str) -> None:
        async with limiter.admitted(one_a_second, run(name), tokens=0, may_snooze=True):
            pass

    async with asyncio.timeout(30):
        await asyncio.gather(*(request(str(n)) for n in range(3)))
    assert time.monotonic() - began >= 1.45  # half a second may be made up for
    assert await scripts_run(redis) <= 3 * 12


async def test_a_park_beyond_all_patience_gives_also_a_job_back_that_has_begun(limiters: Open) -> None:
    limiter = limiters()
    await limiter.park(FREE, PATIENCE + timedelta(seconds=5))
    with pytest.raises(Snooze):
        async with limiter.admitted(FREE, run("1"), tokens=0, may_snooze=False):
            pytest.fail("it is parked")


@pytest.mark.slow
async def test_a_start_that_a_stopped_process_slept_through_is_not_made_up_for(
    limiters: Open, redis: AsyncClient
) -> None:
    limiter, one_a_second = limiters(), Scope("p", "m", Limits(rpm=60))
    assert isinstance(await limiter.acquire(one_a_second, ticket="1", tokens=0), Grant)

    async def second() -> None:
        async with limiter.admitted(one_a_second, run("2"), tokens=0, may_snooze=False):
            pass

    async def granted() -> int:
        return int(await cast("Awaitable[bytes | None]", redis.hget(Key.METRICS, "limit_used|p|rpm")) or 0)

    start = time.monotonic() + 1  # of the second one, at the latest
    waiting = asyncio.create_task(second())
    async with asyncio.timeout(30):
        while await granted() < 2:  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.01)
    # Answers come in order: it has heard when it starts.
    await limiter.acquire(Scope("q", "m", Limits(rpm=60)), ticket="3", tokens=0)
    # The process is stopped: no other code of this loop runs meanwhile.
    until(lambda: time.monotonic() > start + LATE, what="a time when that start has passed")
    await waiting
    assert await granted() >= 3  # it has asked again


async def test_a_cancelled_waiter_leaves_nothing_behind(limiters: Open, redis: AsyncClient) -> None:
    limiter = limiters()
    first = await limiter.acquire(ONE, ticket="1", tokens=0)
    assert isinstance(first, Grant)

    async def wait() -> None:
        async with limiter.admitted(ONE, run("2"), tokens=0, may_snooze=False):
            pytest.fail("the slot is taken")

    waiting = asyncio.create_task(wait())
    async with asyncio.timeout(30):
        while not await redis.zcard(LimitKey.LIMIT_LINE + "p"):  # noqa: ASYNC110 - another process's state has no event
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    limiter.settle(first, tokens=0)
    assert isinstance(await limiter.acquire(ONE, ticket="3", tokens=0), Grant)
    assert await cast("Awaitable[list[bytes]]", redis.hkeys(LimitKey.LIMIT_RESERVED)) == [b"3"]


async def test_a_block_that_fails_keeps_its_tokens_charged(limiters: Open) -> None:
    limiter, tokens = limiters(), Scope("p", "m", Limits(tpm=60_000, concurrency=1))
    with pytest.raises(ValueError, match="broken"):
        async with limiter.admitted(tokens, run("1"), tokens=30_000, may_snooze=True):
            raise ValueError("broken")
    wait = await limiter.acquire(tokens, ticket="2", tokens=1)
    assert isinstance(wait, Wait)
    assert wait.reason == "p tpm"


async def test_too_many_tokens_are_refused_with_the_numbers(limiters: Open) -> None:
    with pytest.raises(RequestTooLarge, match="about 1001 tokens, and p tpm allows 1000 a minute") as refused:
        await limiters().acquire(Scope("p", "m", Limits(tpm=1000)), ticket="1", tokens=1001)
    assert (refused.value.type, refused.value.retryable) == ("request_too_large", False)


async def test_it_waits_for_redis(own_valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    clients = async_client(own_valkey.url), async_client(own_valkey.url, timeout=None)
    limiter = Limiter.open(AsyncBook(clients[0]), clients[1])
    assert isinstance(await limiter.acquire(ONE, ticket="1", tokens=0), Grant)
    own_valkey.kill()
    asking = asyncio.create_task(limiter.acquire(Scope("q", "m", Limits(rpm=60)), ticket="2", tokens=0))
    await eventually(lambda: "operate waits for Redis" in caplog.text)
    await asyncio.to_thread(own_valkey.start)
    async with asyncio.timeout(20):
        assert isinstance(await asking, Grant)
    await limiter.aclose()
    for connection in clients:
        await connection.aclose()


HOLDER = """
import sys, time
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tests.support.limits.claims import claim, models

with client(sys.argv[1]) as connection:
    [lease] = Book(connection).run(claim(1, models(Limits(concurrency=1)), "holder")).leases
    print("granted", lease.granted, flush=True)
    time.sleep(600)
"""


def start_holder(url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLDER, url]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=clean_environment(), text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "granted p:m\n"
    return holder


@pytest.mark.slow  # a lease has to end
async def test_the_slot_of_a_killed_process_comes_back(valkey: str, limiters: Open, async_book: AsyncBook) -> None:
    await async_book.run_all(store([Work().job()]))
    holder = await asyncio.to_thread(start_holder, valkey)
    try:
        limiter, began = limiters(), time.monotonic()
        assert isinstance(await limiter.acquire(ONE, ticket="next:1:0", tokens=0), Wait)
        os.kill(holder.pid, signal.SIGKILL)
        waiting = asyncio.create_task(one_request(limiter, "next"))
        async with asyncio.timeout(40):
            while not waiting.done():
                await async_book.run(claim(0, models(Limits(concurrency=1))))  # of other workers
                await asyncio.wait([waiting], timeout=0.1)
        await waiting
        assert time.monotonic() - began <= 15
    finally:
        holder.kill()
        until(lambda: holder.poll() is not None, what="the end of the holder")


async def one_request(limiter: Limiter, name: str) -> None:
    async with limiter.admitted(ONE, run(name), tokens=0, may_snooze=False):
        pass


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "0"}, {"rpm": (600, 0)}),
        ({"x-ratelimit-remaining-tokens": "149984"}, {"tpm": (None, 149984)}),
        (
            {"anthropic-ratelimit-tokens-limit": "80000", "anthropic-ratelimit-tokens-remaining": "79000"},
            {"tpm": (80000, 79000)},
        ),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-remaining-tokens": "many"}, {}),
        ({"x-ratelimit-remaining-tokens": "9" * 400}, {}),
        ({}, {}),
    ],
)
def test_headers(headers: dict[str, str], found: dict[str, object]) -> None:
    assert seen(headers) == found
