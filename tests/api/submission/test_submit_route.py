"""The one way of a submission: what is taken, what is refused and why, and who waits for whom meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tandem.shared.store.batching import PLACES
from tandem.shared.store.executor import Book
from tests.support.gateway import CHAT, Gateway, is_problem

JSON = "application/json"
BODY = json.dumps(CHAT)
DEEP = json.dumps({"messages": [{"role": "user", "content": "x" * 1_100_000}]})
Request = tuple[str, str, str, dict[str, str]]  # task, query, body, headers
TAKEN: dict[str, Request] = {
    "plain": ("chat", "", BODY, {}),
    "with an option": ("chat", "?priority=high", BODY, {}),
    "waits": ("chat", "", BODY, {"Prefer": "wait=0"}),
    "with a charset": ("chat", "", BODY, {"Content-Type": "application/json; charset=utf-8"}),
    "a kind of JSON": ("chat", "", BODY, {"Content-Type": "application/vnd.x+json"}),
}
REFUSED: dict[str, tuple[Request, int, set[str]]] = {
    "bad json": (("chat", "", '{"messages": [', {}), 422, {"body"}),
    "no json": (("chat", "", "NaN", {}), 422, {"body"}),
    "no json by its type": (("chat", "", BODY, {"Content-Type": "text/plain"}), 422, {"header.Content-Type"}),
    "curl's own type": (
        ("chat", "", BODY, {"Content-Type": "application/x-www-form-urlencoded"}),
        422,
        {"header.Content-Type"},
    ),
    "no type": (("chat", "", BODY, {"Content-Type": ""}), 422, {"header.Content-Type"}),
    "empty": (("chat", "", "", {}), 422, {"body"}),
    "wrong field": (("chat", "", json.dumps({**CHAT, "temperature": 9}), {}), 422, {"temperature"}),
    "unknown field": (("chat", "", json.dumps({**CHAT, "temprature": 1}), {}), 422, {"temprature"}),
    "missing field": (("chat", "", "{}", {}), 422, {"messages"}),
    "a list": (("chat", "", "[]", {}), 422, {"body"}),
    "surrogate": (("chat", "", '{"messages": [{"role": "user", "content": "\\ud800"}]}', {}), 422, {"body"}),
    "infinite": (("chat", "", BODY[:-1] + ', "temperature": 1e999}', {}), 422, {"body"}),
    "unknown option": (("chat", "?prio=high", BODY, {}), 422, {"query.prio"}),
    "all of it": (
        ("chat", "?prio=high&delay=soon", "{}", {"Idempotency-Key": "x" * 300}),
        422,
        {"query.prio", "query.delay", "header.Idempotency-Key", "messages"},
    ),
    "for admins": (("cleanup", "", '{"older_than": "7d", "what": ["files"]}', {}), 403, set()),
    "for admins before all else": (("cleanup", "", "{", {}), 403, set()),
    "too long": (("chat", "", DEEP, {}), 413, set()),
    "no key": (("chat", "", "{", {"Authorization": "Bearer wrong"}), 401, set()),
    "no such task": (("nothing", "", "{}", {}), 404, set()),
}


async def post(gateway: Gateway, request: Request) -> httpx.Response:
    task, query, body, headers = request
    return await gateway.ann.post(f"/v1/{task}{query}", content=body, headers={"Content-Type": JSON, **headers})


@pytest.mark.parametrize("name", TAKEN)
async def test_a_good_request_is_taken(gateway: Gateway, name: str) -> None:
    assert (await post(gateway, TAKEN[name])).status_code == 202


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_names_all_that_is_wrong(gateway: Gateway, name: str, book: Book) -> None:
    request, status, fields = REFUSED[name]
    problem = is_problem(await post(gateway, request), status)
    assert {error["field"] for error in problem.get("errors", [])} == fields
    assert book.client.dbsize() == 0


async def test_submissions_do_not_go_through_fastapi_s_solver(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs more than all of our work on them: good and bad ones are answered when it is broken."""

    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fastapi.routing.solve_dependencies", broken)
    statuses = [(await post(gateway, request)).status_code for request, _, _ in REFUSED.values()]
    assert statuses == [status for _, status, _ in REFUSED.values()]
    assert (await post(gateway, TAKEN["plain"])).status_code == 202
    assert (await gateway.ann.get("/v1/jobs")).status_code == 500


async def test_slow_callers_hold_up_nobody(gateway: Gateway) -> None:
    """More of them than may prepare a call at a time; then a bad request, an error and a good one end their turns."""
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        arrived.release()
        yield b'{"messages": [{"role": "user", '
        await go_on.wait()
        yield b'"content": "Hello"}]}'

    many = 3 * PLACES
    headers = {"Content-Type": JSON}
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


async def test_a_caller_who_goes_away_is_no_mistake_of_ours(
    gateway: Gateway, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    coming = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    answers: list[Any] = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"authorization", gateway.ann.headers["Authorization"].encode()), (b"content-type", JSON.encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat", "query_string": b"", "headers": headers}
    await gateway.app(scope, receive, send)
    assert answers[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert book.client.dbsize() == 0
