"""Who may submit how much, and what a refusal says."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tandem.api.app import create_app
from tandem.shared.config.file import Config, KeyConfig
from tandem.shared.config.settings import Settings
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName, pause
from tests.support.gateway import CHAT, Gateway, is_problem, started
from tests.support.jobs import TTL

HOOK = "https://8.8.8.8/bob"


@pytest.fixture(scope="module")
def limited(settings: Settings) -> tuple[FastAPI, Settings]:
    """Six places, of which a key may fill half, and four submissions a minute; bob has other limits."""
    bob = KeyConfig(rpm=600, share=0.9, webhook_url=HOOK)
    root = KeyConfig(rpm=600, share=1)
    changes = {"key_rpm": 4, "key_share": 0.5, "queue_max": 6, "config": Config(keys={"bob": bob, "root": root})}
    limits = settings.model_copy(update=changes)
    return create_app(limits), limits


@pytest.fixture
async def gateway(limited: tuple[FastAPI, Settings], valkey: str) -> AsyncIterator[Gateway]:
    assert valkey
    async with started(*limited) as gateway:
        yield gateway


async def test_a_key_over_its_rate_is_told_when_to_come_back(gateway: Gateway, book: Book) -> None:
    answers = [await gateway.ann.post(f"/v1/{task}", json=body) for task, body in MIX * 2]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert [answer.headers["ratelimit"] for answer in answers] == [
        f'"submissions";r={left};t={full}' for left, full in ((3, 15), (2, 30), (1, 45), (0, 60))
    ]
    before = book.client.dbsize()
    refused = await gateway.ann.post("/v1/chat", json=CHAT)
    assert "too fast" in is_problem(refused, 429)["detail"]
    assert 13 <= int(refused.headers["retry-after"]) <= 15
    assert refused.headers["ratelimit"] in {'"submissions";r=0;t=60', '"submissions";r=0;t=59'}
    assert {answer.headers["ratelimit-policy"] for answer in [*answers, refused]} == {'"submissions";q=4;w=60'}
    assert book.client.dbsize() == before
    assert (await gateway.bob.post("/v1/chat", json=CHAT)).headers["ratelimit-policy"] == '"submissions";q=600;w=60'


MIX = [("chat", CHAT), ("report", {"markdown": "x"})]


async def test_a_repeat_costs_nothing_of_the_rate(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = [await gateway.ann.post("/v1/chat", json=CHAT, headers=headers) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [202] + [200] * 8
    assert "ratelimit-policy" in answers[-1].headers
    assert (await gateway.ann.post("/v1/chat", json=CHAT)).headers["ratelimit"].startswith('"submissions";r=2')


async def test_a_key_fills_its_share_and_leaves_room_for_others(gateway: Gateway, book: Book) -> None:
    mine = [(await gateway.ann.post("/v1/chat", json=CHAT)).json()["id"] for _ in range(3)]
    full = await gateway.ann.post("/v1/chat", json=CHAT)
    assert "share" in is_problem(full, 429)["detail"]
    assert int(full.headers["retry-after"]) > 0
    assert full.headers["ratelimit-policy"] == '"submissions";q=4;w=60'
    assert (await gateway.ann.post("/v1/report", json={"markdown": "x"})).status_code == 202, "each queue has its own"

    async def others(client: httpx.AsyncClient) -> int:
        return (await client.post("/v1/chat", json=CHAT)).status_code

    assert [await others(gateway.bob) for _ in range(3)] == [202] * 3
    assert await others(gateway.admin) == 503, "the queue is full"
    book.run(commands.cancel(mine[0], ttl=TTL))
    assert await others(gateway.admin) == 202


async def test_a_refusal_of_a_full_queue_and_an_estimate_are_honest(gateway: Gateway, book: Book) -> None:
    for client in (gateway.bob, gateway.admin):
        for _ in range(3):
            job = (await client.post("/v1/chat", json=CHAT)).json()
            assert job["estimated_start"] is None, "nothing ended yet"
    second = int(book.run(commands.now()).timestamp())
    book.client.set(f"tandem:rate:llm:{second // 10 - 3}", 3, ex=60)  # three ended within 30 to 40 s
    refused = await gateway.bob.post("/v1/chat", json=CHAT)
    is_problem(refused, 503)
    assert 10 <= int(refused.headers["retry-after"]) <= 14
    [lease] = book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL)).leases
    job = (await gateway.bob.post("/v1/chat", json=CHAT)).json()
    assert job["estimated_start"] is None, "no worker is alive"
    book.run(commands.cancel(job["id"], ttl=TTL))
    book.run(leases.renew("llm", [lease], worker="w"))
    job = (await gateway.bob.post("/v1/chat", json=CHAT)).json()
    assert job["created_at"] < job["estimated_start"]
    assert (await gateway.bob.get(f"/v1/jobs/{job['id']}")).json() == job
    book.run(commands.cancel(job["id"], ttl=TTL))
    assert (await gateway.bob.get(f"/v1/jobs/{job['id']}")).json()["estimated_start"] is None
    assert lease.id != job["id"]
    book.run(pause(QueueName.LLM, paused=True))
    job = (await gateway.bob.post("/v1/chat", json=CHAT)).json()
    assert job["estimated_start"] is None, "nobody knows for how long"


async def test_a_full_share_drains_with_the_queue(gateway: Gateway, book: Book) -> None:
    """Of the two jobs that end in 10 s one is the key's own, as half of those are that wait."""
    for client in (gateway.ann, gateway.bob):
        for _ in range(3):
            assert (await client.post("/v1/chat", json=CHAT)).status_code == 202
    second = int(book.run(commands.now()).timestamp())
    book.client.set(f"tandem:rate:llm:{second // 10 - 3}", 8, ex=60)  # eight ended within 30 to 40 s
    refused = await gateway.ann.post("/v1/chat", json=CHAT)
    assert "queue is full" in is_problem(refused, 503)["detail"]
    book.run(commands.cancel((await gateway.bob.get("/v1/jobs")).json()["jobs"][0]["id"], ttl=TTL))
    refused = await gateway.ann.post("/v1/chat", json=CHAT)
    assert "share" in is_problem(refused, 429)["detail"]
    assert 5 <= int(refused.headers["retry-after"]) <= 8, (
        "five waiting, three of them its own, nine ended in 30 to 40 s"
    )


async def test_a_keys_own_webhook(gateway: Gateway, book: Book) -> None:
    for url in ({}, {"webhook_url": "https://8.8.4.4/other"}):
        job = (await gateway.bob.post("/v1/chat", json=CHAT, params=url)).json()
        book.run(commands.cancel(job["id"], ttl=TTL))
        [delivery] = (await gateway.bob.get(f"/v1/jobs/{job['id']}")).json()["deliveries"]
        assert delivery["url"] == url.get("webhook_url", HOOK)


def test_a_keys_webhook_that_leads_inside_is_refused_at_start(settings: Settings) -> None:
    config = Config(keys={"bob": KeyConfig(webhook_url="http://10.0.0.1/")})
    with pytest.raises(ValueError, match=r"keys.bob.webhook_url: the address is private"):
        create_app(settings.model_copy(update={"config": config}))
    create_app(settings.model_copy(update={"config": config, "allow_private_webhooks": True}))


async def test_a_webhook_that_nobody_could_sign_is_refused(settings: Settings, book: Book) -> None:
    unsigned = settings.model_copy(update={"webhook_secret": None})
    async with started(create_app(unsigned), unsigned) as gateway:
        answer = await gateway.ann.post("/v1/chat", json=CHAT, params={"webhook_url": HOOK})
        [error] = is_problem(answer, 422)["errors"]
        assert (error["field"], "TANDEM_WEBHOOK_SECRET" in error["message"]) == ("query.webhook_url", True)
        assert book.client.dbsize() == 0
        assert (await gateway.ann.post("/v1/chat", json=CHAT)).status_code == 202
    config = Config(keys={"bob": KeyConfig(webhook_url=HOOK)})
    with pytest.raises(ValueError, match=r"keys.bob.webhook_url: .*TANDEM_WEBHOOK_SECRET"):
        create_app(unsigned.model_copy(update={"config": config}))
