"""A Redis that fills up: submissions stop before it is full, and go on when there is room again."""

import asyncio
import random
from base64 import b85encode
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from tandem.api.app import create_app
from tandem.shared.config.settings import Settings
from tandem.shared.runtime.redis_client import client
from tandem.shared.runtime.redis_memory import Usage
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tests.support.gateway import CHAT, Gateway, is_problem, started
from tests.support.jobs import TTL
from tests.support.servers.valkey import Valkey

ROOM = 8 * 1024 * 1024  # bytes until Redis would refuse writes
SHARE = 0.8
SIZE = 100_000
NEARLY_FULL = "the job store is nearly full"
NOISE = b85encode(random.Random(1).randbytes(SIZE)).decode()  # noqa: S311 - no secret: it gets no shorter
LONG: dict[str, Any] = {"messages": [{"role": "user", "content": NOISE}]}


def usage(book: Book) -> Usage:
    info: Any = book.client.info("memory")
    return Usage.of(info)


@pytest.fixture
def full(own_valkey: Valkey) -> Book:
    """The book of a Redis with room for some 80 large jobs."""
    connection = client(own_valkey.url)
    book = Book(connection)
    connection.config_set("maxmemory", int((usage(book).used + ROOM) / SHARE))
    return book


@pytest.fixture
async def gateway(full: Book, own_valkey: Valkey, settings: Settings) -> AsyncIterator[Gateway]:
    assert full
    changes = {"redis_url": SecretStr(own_valkey.url), "queue_max": 10_000, "redis_share": SHARE}
    limited = settings.model_copy(update=changes)
    async with started(create_app(limited), limited) as gateway:
        yield gateway


async def fill(gateway: Gateway) -> list[str]:
    """Submit as fast as it goes until a submission is refused; gives the ids of those that were taken."""
    taken: list[str] = []
    while True:
        answers = await asyncio.gather(*(gateway.ann.post("/v1/chat", json=LONG) for _ in range(20)))
        taken += [answer.json()["id"] for answer in answers if answer.status_code == 202]
        if refused := [answer for answer in answers if answer.status_code != 202]:
            for answer in refused:
                assert is_problem(answer, 503)["detail"] == NEARLY_FULL
                assert int(answer.headers["retry-after"]) > 0
            return taken


async def until_taken(gateway: Gateway) -> None:
    async with asyncio.timeout(30):
        while (await gateway.ann.post("/v1/chat", json=CHAT)).status_code != 202:
            pass  # each is a try


async def test_submissions_stop_below_the_limit_and_go_on_when_there_is_room(gateway: Gateway, full: Book) -> None:
    taken = await fill(gateway)
    assert len(taken) < ROOM / SIZE
    memory = usage(full)
    assert memory.used < memory.limit
    for job_id in taken:
        full.run(commands.cancel(job_id, ttl=TTL))
        full.run(commands.erase(job_id))
    await until_taken(gateway)


async def test_who_asks_again_gets_the_job_and_an_admin_may_make_room(gateway: Gateway, full: Book) -> None:
    first = await gateway.ann.post("/v1/chat", json=LONG, headers={"Idempotency-Key": "k"})
    full.client.config_set("maxmemory", int(usage(full).used * 1.1))  # buffers that it frees make no room
    known: Any = 0
    for n in count():
        known = full.client.zcard("tandem:jobs")
        refused = await gateway.ann.post("/v1/chat", json=CHAT, headers={"Idempotency-Key": f"other {n}"})
        if refused.status_code != 202:
            break
        await asyncio.sleep(0.05)  # the gateway looks twice a second: what it takes till then must not fill Redis
    assert is_problem(refused, 503)["detail"] == NEARLY_FULL
    assert full.client.zcard("tandem:jobs") == known
    again = await gateway.ann.post("/v1/chat", json=LONG, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (await gateway.admin.post("/v1/cleanup", json={"older_than": "1h"})).status_code == 202


async def test_a_redis_that_does_not_tell_any_more_is_left_to_refuse_itself(gateway: Gateway, full: Book) -> None:
    """Else what nobody has seen would add up, and nothing be taken until the gateway ends."""
    await until_taken(gateway)
    full.client.acl_setuser("default", commands=["-info"])
    taken = 0
    async with asyncio.timeout(30):
        while taken < 2 * ROOM // SIZE:
            answer = await gateway.ann.post("/v1/chat", json=LONG)
            if answer.status_code == 202:  # not so from the last look on until it has asked in vain
                taken += 1
                full.run(commands.cancel(answer.json()["id"], ttl=TTL))
                full.run(commands.erase(answer.json()["id"]))


async def test_a_redis_that_evicts_is_never_short(gateway: Gateway, full: Book) -> None:
    """It may be full of the application's own cache for good."""
    await fill(gateway)
    full.client.config_set("maxmemory-policy", "volatile-lru")
    await until_taken(gateway)


async def test_what_is_not_marked_to_end_work_is_refused_as_an_outage_when_redis_is_full(
    gateway: Gateway, full: Book
) -> None:
    """Other programs may have filled it since somebody has looked."""
    await until_taken(gateway)
    full.client.config_set("maxmemory", usage(full).used // 2)
    refused = await gateway.ann.post("/v1/chat", json=CHAT)  # whether anybody has looked since, or not
    assert is_problem(refused, 503)["detail"] in {"the job store does not take requests now", NEARLY_FULL}
    assert int(refused.headers["retry-after"]) > 0


async def test_a_gateway_that_has_just_started_can_be_stopped(app: FastAPI, settings: Settings, valkey: str) -> None:
    """It looks for the first time just then, over a connection that is not there yet."""
    assert valkey
    for turns in range(30):
        async with asyncio.timeout(20), started(app, settings):
            for _ in range(turns):
                await asyncio.sleep(0)
