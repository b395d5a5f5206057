"""The short way for submissions answers as FastAPI's own way does, and is the one that good requests take."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends

from tandem.api.server.fast_path import LeanRoute
from tandem.shared.store.turns import PLACES
from tests.support.gateway import CHAT, Gateway

SHORT, LONG = "application/json", "application/json; charset=utf-8"  # only the plain one takes the short way
REQUESTS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "good": ("chat", "", json.dumps(CHAT), {}),
    "waits": ("chat", "", json.dumps(CHAT), {"Prefer": "wait=0"}),
    "bad json": ("chat", "", '{"messages": [', {}),
    "no json": ("chat", "", "NaN", {}),
    "empty": ("chat", "", "", {}),
    "wrong field": ("chat", "", json.dumps({**CHAT, "temperature": 9}), {}),
    "unknown field": ("chat", "", json.dumps({**CHAT, "temprature": 1}), {}),
    "missing field": ("chat", "", "{}", {}),
    "a list": ("chat", "", "[]", {}),
    "surrogate": ("chat", "", '{"messages": [{"role": "user", "content": "\\ud800"}]}', {}),
    "infinite": ("chat", "", '{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}', {}),
    "unknown option": ("chat", "?prio=high", json.dumps(CHAT), {}),
    "for admins": ("cleanup", "", '{"older_than": "7d", "what": ["files"]}', {}),
    "no such task": ("nothing", "", "{}", {}),
    "too long": ("chat", "", json.dumps({"messages": [{"role": "user", "content": "x" * 1_100_000}]}), {}),
    "no key": ("chat", "", json.dumps(CHAT), {"Authorization": "Bearer wrong"}),
}


def comparable(answer: Any) -> tuple[int, Any, dict[str, str]]:
    """An answer without what differs between any two requests."""
    body = answer.json()
    for name in ("id", "created_at", "links"):
        body.pop(name, None)
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "location"}}
    headers.pop("content-length")
    return answer.status_code, body, headers


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_answer_alike(gateway: Gateway, name: str) -> None:
    task, query, body, headers = REQUESTS[name]
    short, long = [
        await gateway.ann.post(f"/v1/{task}{query}", content=body, headers={"Content-Type": kind, **headers})
        for kind in (SHORT, LONG)
    ]
    assert comparable(short) == comparable(long)
    assert (short.status_code == 202) == (name in {"good", "waits"})


async def test_a_good_request_does_not_go_through_the_router(gateway: Gateway) -> None:
    """The router would fail here: it has no routes any more."""
    routes, gateway.app.router.routes = gateway.app.router.routes, []
    try:
        answer = await gateway.ann.post("/v1/chat", json=CHAT)
        lost = await gateway.ann.post("/v1/chat", json={})
    finally:
        gateway.app.router.routes = routes
    assert (answer.status_code, lost.status_code) == (202, 404)


async def test_slow_callers_hold_up_nobody(gateway: Gateway) -> None:
    """More of them than may prepare a call at a time; then a bad request, an error and a good one end their turns."""
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        arrived.release()
        yield b'{"messages": [{"role": "user", '
        await go_on.wait()
        yield b'"content": "Hello"}]}'

    many = 3 * PLACES
    headers = {"Content-Type": SHORT}
    asking = [asyncio.create_task(gateway.ann.post("/v1/chat", content=slow(), headers=headers)) for _ in range(many)]
    for _ in range(many):
        await arrived.acquire()
    async with asyncio.timeout(20):
        for _ in range(2 * PLACES):
            assert (await gateway.ann.post("/v1/chat", json={})).status_code == 422
            assert (await gateway.ann.post("/v1/nothing", json=CHAT)).status_code == 404
        assert (await gateway.ann.post("/v1/chat", json=CHAT)).status_code == 202
        go_on.set()
        assert {(await answer).status_code for answer in asking} == {202}


async def test_turns_end_when_a_submission_is_refused(gateway: Gateway) -> None:
    async with asyncio.timeout(20):
        answers = [await gateway.ann.post("/v1/chat", json=CHAT) for _ in range(50 + 2 * PLACES)]
    assert [answer.status_code for answer in answers[50:]] == [503] * 2 * PLACES  # 50 places in the queue


async def nothing(text: str) -> None:
    """An endpoint whose parameter only FastAPI can read."""


async def something() -> None:
    """A dependency of unknown meaning."""


@pytest.mark.parametrize("options", [{}, {"dependencies": [Depends(something)]}], ids=["parameter", "dependency"])
def test_an_endpoint_that_it_can_t_read_fails_at_start(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        LeanRoute("/x", nothing, methods=["POST"], **options)
