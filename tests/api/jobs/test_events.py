"""The events of a job as one gateway gives them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tandem.api.jobs import events as route
from tandem.api.server.listener import listen
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, Failure, HandBack, RetryIn
from tandem.shared.store import commands, events, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tests.support.event_source import Watcher, connections, parse, whole
from tests.support.gateway import Gateway, is_problem
from tests.support.jobs import TTL, as_before, claim_one, finish
from tests.support.processes import until

SMALL = Failure("rate_limited", "429", retryable=True)


async def watch(gateway: Gateway, job_id: str, **headers: str) -> httpx.Response:
    return await gateway.ann.get(f"/v1/jobs/{job_id}/events", headers=headers)


async def lived(gateway: Gateway, worker: Book) -> str:
    """A job that has had two attempts and a success."""
    job_id = await gateway.submit()
    worker.run(leases.give_up(claim_one(worker), RetryIn(timedelta(0), SMALL), usage=Usage(), ttl=TTL))
    lease = claim_one(worker)
    for done in range(3):
        progress = {"done": done, "total": 3, "message": "line\nbreak\r\u2028"}
        assert worker.run(events.append(lease, [(Kind.PROGRESS, progress)]))
    finish(worker, lease)
    return job_id


async def test_a_finished_jobs_events_from_any_of_them_on(gateway: Gateway, worker: Book) -> None:
    job_id = await lived(gateway, worker)
    answer = await watch(gateway, job_id)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "no-store" in answer.headers["cache-control"]
    assert "x-events-from" not in answer.headers
    seen = list(parse(answer.text))
    assert whole(seen)
    told = [(event.kind, event.data.get("status") or event.data.get("attempt")) for event in seen if event.data]
    assert told[:5] == [
        ("status", "queued"), ("status", "running"), ("attempt", 1), ("status", "queued"), ("status", "running"),
    ]  # fmt: skip
    assert seen[6].data == {"done": 0, "total": 3, "message": "line\nbreak\r\u2028"}
    assert seen[-2].data == {"status": "succeeded", "attempt": 2, "at": seen[-1].data["finished_at"]}
    assert seen[-1].data == (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    for last in range(len(seen) + 1):
        again = await watch(gateway, job_id, **{"Last-Event-ID": str(last)})
        assert list(parse(again.text)) == seen[last:]


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "1-0", "\xb2", "9999999999999999999", "99"])
async def test_an_id_that_is_none_of_the_jobs_is_400(gateway: Gateway, worker: Book, last: str) -> None:
    job_id = await lived(gateway, worker)
    headers = {b"Last-Event-ID": last.encode("latin-1")}
    answer = await gateway.ann.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert "Last-Event-ID" in is_problem(answer, 400)["detail"]


async def test_another_owners_events_do_not_exist(gateway: Gateway, worker: Book) -> None:
    job_id = await lived(gateway, worker)
    is_problem(await gateway.bob.get(f"/v1/jobs/{job_id}/events"), 404)
    is_problem(await gateway.ann.get("/v1/jobs/nobody/events"), 404)
    is_problem(await gateway.nobody.get(f"/v1/jobs/{job_id}/events"), 401)
    assert (await gateway.admin.get(f"/v1/jobs/{job_id}/events")).status_code == 200


async def of_the_version_before(gateway: Gateway, worker: Book) -> str:
    job_id = await lived(gateway, worker)
    as_before(worker, job_id)
    worker.client.xtrim(Key.EVENTS + job_id, maxlen=3, approximate=False)
    return job_id


async def often_handed_back(gateway: Gateway, worker: Book) -> str:
    job_id = await gateway.submit()
    for _ in range(100):
        worker.run(leases.give_up(claim_one(worker), HandBack(timedelta(0)), usage=Usage(), ttl=TTL))
    finish(worker, claim_one(worker))
    return job_id


@pytest.mark.parametrize("story", [of_the_version_before, often_handed_back])
async def test_what_is_not_kept_any_more_is_said(
    gateway: Gateway, worker: Book, story: Callable[[Gateway, Book], Awaitable[str]]
) -> None:
    job_id = await story(gateway, worker)
    for last in ("", "2"):
        answer = await watch(gateway, job_id, **{"Last-Event-ID": last})
        first = next(parse(answer.text)).id
        assert answer.headers["x-events-from"] == str(first)
        assert f": events {int(last or 0) + 1} to {first - 1} are not kept any more\n" in answer.text
    kept = await watch(gateway, job_id, **{"Last-Event-ID": str(first - 1)})
    assert "x-events-from" not in kept.headers
    assert "not kept" not in kept.text


async def test_deltas_that_are_not_kept_any_more_are_a_comment_where_they_were(gateway: Gateway, worker: Book) -> None:
    job_id = await lived(gateway, worker)
    worker.client.xtrim(Key.EVENTS + job_id, maxlen=1, approximate=False)
    answer = await watch(gateway, job_id)
    assert "x-events-from" not in answer.headers
    assert [event.id for event in parse(answer.text)] == [1, 2, 3, 4, 5, 6, 9, 10, 11]
    assert ": events 7 to 8 are not kept any more\n" in answer.text


async def test_a_job_of_the_version_before_has_the_same_stream(gateway: Gateway, worker: Book) -> None:
    job_id = await lived(gateway, worker)
    shown = (await watch(gateway, job_id)).text
    as_before(worker, job_id)
    assert (await watch(gateway, job_id)).text == shown


async def test_a_retried_job_begins_a_new_stream_and_goes_on_counting(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    worker.run(leases.give_up(claim_one(worker), Fail(SMALL), usage=Usage(), ttl=TTL))
    first = list(parse((await watch(gateway, job_id)).text))
    assert first[-1].data["status"] == "failed"
    worker.run(commands.retry(job_id))
    finish(worker, claim_one(worker))
    again = list(parse((await watch(gateway, job_id, **{"Last-Event-ID": str(first[-1].id)})).text))
    assert [event.id for event in again] == list(range(first[-1].id + 1, first[-1].id + 1 + len(again)))
    assert (again[0].data["status"], again[-1].data["status"]) == ("queued", "succeeded")


# --- over a socket


async def test_a_comment_keeps_a_connection_open(
    gateway: Gateway, worker: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await gateway.submit()
    monkeypatch.setattr(route, "HEARTBEAT", 1)
    headers = {"Authorization": "Bearer ann-key-0123456789abc"}
    async with served(gateway.app, stall=60.0) as port, httpx.AsyncClient(timeout=20) as client:
        url = f"http://127.0.0.1:{port}/v1/jobs/{job_id}/events"
        async with client.stream("GET", url, headers=headers) as answer:
            said = [line async for line in until_line(answer, ": still here")]
        assert "event: end" not in said
    finish(worker, claim_one(worker))


async def until_line(answer: httpx.Response, last: str) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        yield line
        if line == last:
            return


@asynccontextmanager
async def served(app: FastAPI, *, stall: float) -> AsyncIterator[int]:
    """Serve the application on a port of its own in this process."""
    with listen("127.0.0.1", 0, stall=stall) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def long_job(gateway: Gateway, worker: Book) -> str:
    """A finished job with 10 MB of events."""
    job_id = await gateway.submit()
    lease = claim_one(worker)
    for _ in range(10):
        entries: list[tuple[Kind, dict[str, Any]]] = [(Kind.DELTA, {"text": "x" * 10_000})] * 100
        await asyncio.to_thread(worker.run, events.append(lease, entries))
    finish(worker, lease)
    return job_id


@pytest.mark.parametrize("by", ["kernel", "gateway"])
async def test_who_stops_reading_is_dropped(
    gateway: Gateway, worker: Book, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """And until then costs what is on its way, not the whole stream."""
    job_id = await long_job(gateway, worker)
    monkeypatch.setattr(route, "SEND_TIMEOUT", 1.0 if by == "gateway" else 60.0)
    request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ann-key-0123456789abc\r\n\r\n"
    feeds = gateway.app.state.subscriptions._feeds
    async with served(gateway.app, stall=1.0 if by == "kernel" else 60.0) as port:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall(request.encode())
            await asyncio.to_thread(until, lambda: feeds, what="the watcher")
            await asyncio.to_thread(until, lambda: not feeds, patience=20, what="the watcher's end")
        # Those who read have the whole stream meanwhile.
        watcher = Watcher([f"http://127.0.0.1:{port}"], job_id)
        async with connections() as client:
            await watcher.run(client)
        assert whole(watcher.seen)
        assert watcher.connections == 1
