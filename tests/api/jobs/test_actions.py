"""Stopping jobs, running them again, erasing them, and the races between all that."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store import events, leases, maintenance
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.leases import Success
from tests.support.gateway import BODIES, Gateway, is_problem
from tests.support.jobs import TTL, claim_one, fail, finish

QUEUES = {"chat": "llm", "report": "sync"}
both = pytest.mark.parametrize("task", ["chat", "report"])


async def view(gateway: Gateway, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    return job


# --- cancel


@both
@pytest.mark.parametrize("query", ["", "?delay=60"])
async def test_a_waiting_job_is_cancelled_at_once(gateway: Gateway, task: str, query: str, worker: Book) -> None:
    job_id = (await gateway.ann.post(f"/v1/{task}{query}", json=BODIES[task])).json()["id"]
    waiting = asyncio.create_task(gateway.ann.get(f"/v1/jobs/{job_id}?wait=30"))
    answer = await gateway.ann.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert (await waiting).json() == answer.json() == await view(gateway, job_id)
    problem = is_problem(await gateway.ann.post(f"/v1/jobs/{job_id}/cancel"), 409)
    assert "cancelled" in problem["detail"]
    assert worker.run(leases.claim_llm(worker="w", limit=1, ttl=TTL)).leases == []
    assert worker.run(leases.claim_sync(worker="w", ttl=TTL)).leases == []


@both
async def test_a_finished_job_can_not_be_cancelled(gateway: Gateway, task: str, worker: Book) -> None:
    job_id = await gateway.submit(task, BODIES[task])
    finish(worker, claim_one(worker, QUEUES[task]))
    problem = is_problem(await gateway.ann.post(f"/v1/jobs/{job_id}/cancel"), 409)
    assert "succeeded" in problem["detail"]
    assert (await view(gateway, job_id))["status"] == "succeeded"


async def after(delay: float, work: Callable[[], Awaitable[Any]]) -> Any:
    await asyncio.sleep(delay)
    return await work()


def shuffled(*works: Callable[[], Awaitable[Any]]) -> Any:
    """Run all at about the same time, in an order that nobody knows.

    The head starts range from a Redis round trip to longer than the slowest of the works (an erasure looks for
    the job's files first), so that each of them comes first now and then on a slow machine too.
    """
    head_starts = [0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.03]
    return asyncio.gather(*(after(random.choice(head_starts), work) for work in works))  # noqa: S311


@both
async def test_of_a_cancel_and_an_end_exactly_one_wins(gateway: Gateway, task: str, worker: Book) -> None:
    book: AsyncBook = gateway.app.state.book
    winners: Counter[str] = Counter()
    for _ in range(60):
        job_id = await gateway.submit(task, BODIES[task])
        lease = await asyncio.to_thread(claim_one, worker, QUEUES[task])
        result = leases.succeed(lease, Success("{}"), usage=Usage(1, 1, 1), ttl=TTL)
        answer, written = await shuffled(
            partial(gateway.ann.post, f"/v1/jobs/{job_id}/cancel"),
            partial(book.run, result),
        )
        job = await view(gateway, job_id)
        winners[job["status"]] += 1
        if written:
            assert "succeeded" in is_problem(answer, 409)["detail"]
            assert (job["status"], job["result"]) == ("succeeded", {})
        else:
            assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
            assert (job["status"], job["result"]) == ("cancelled", None)
        kept = [event.kind for event in await book.run(events.read(job_id, after=0))]
        assert kept.count(Kind.END) == 1
    assert set(winners) == {"succeeded", "cancelled"}, winners


async def test_of_a_cancel_and_a_claim_no_job_is_lost_or_run_after_all(gateway: Gateway, worker: Book) -> None:
    book: AsyncBook = gateway.app.state.book
    for _ in range(40):
        job_id = await gateway.submit()
        answer, claimed = await shuffled(
            partial(gateway.ann.post, f"/v1/jobs/{job_id}/cancel"),
            partial(book.run, leases.claim_llm(worker="w", limit=1, ttl=TTL)),
        )
        assert (answer.status_code, (await view(gateway, job_id))["status"]) == (200, "cancelled")
        for lease in claimed.leases:
            assert await book.run(leases.renew("llm", [lease], worker="w")) == [job_id]
            assert not await book.run(leases.succeed(lease, Success("{}"), usage=Usage(), ttl=TTL))
    states = worker.client.hgetall("tandem:queue:llm")
    assert {int(value) for value in states.values()} == {0}  # type: ignore[union-attr]


# --- retry


@both
async def test_a_failed_job_runs_again(gateway: Gateway, task: str, worker: Book) -> None:
    job_id = await gateway.submit(task, BODIES[task])
    fail(worker, claim_one(worker, QUEUES[task]))
    failed = await view(gateway, job_id)
    assert failed["error"]["attempts"][0]["type"] == "refused"
    answer = await gateway.ann.post(f"/v1/jobs/{job_id}/retry")
    job = answer.json()
    assert (answer.status_code, job["status"], job["attempt"], job["error"]) == (200, "queued", 0, None)
    is_problem(await gateway.ann.post(f"/v1/jobs/{job_id}/retry"), 409)
    lease = claim_one(worker, QUEUES[task])
    is_problem(await gateway.ann.post(f"/v1/jobs/{job_id}/retry"), 409)
    finish(worker, lease)
    problem = is_problem(await gateway.ann.post(f"/v1/jobs/{job_id}/retry"), 409)
    assert "succeeded" in problem["detail"]
    assert (await view(gateway, job_id))["usage"]["requests"] == 4, "of both lives"


async def test_parallel_retries_make_one_run(gateway: Gateway, worker: Book) -> None:
    for _ in range(20):
        job_id = await gateway.submit()
        fail(worker, await asyncio.to_thread(claim_one, worker))
        answers = await shuffled(*[partial(gateway.ann.post, f"/v1/jobs/{job_id}/retry")] * 4)
        assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 3}
        assert await asyncio.to_thread(worker.client.zcard, "arq:queue") == 1
        finish(worker, await asyncio.to_thread(claim_one, worker))


async def dead(gateway: Gateway, worker: Book, task: str = "chat", **times: Any) -> str:
    job_id = await gateway.submit(task, BODIES[task])
    fail(worker, await asyncio.to_thread(claim_one, worker, QUEUES[task]))
    if times:
        await asyncio.to_thread(worker.client.hset, f"tandem:job:{job_id}", mapping=times)
    return job_id


async def test_all_failed_jobs_that_match_run_again(gateway: Gateway, worker: Book) -> None:
    chats = [await dead(gateway, worker) for _ in range(5)]
    old = await dead(gateway, worker, finished_at=1_000_000)
    report = await dead(gateway, worker, "report")
    cancelled = await gateway.submit()
    await gateway.ann.post(f"/v1/jobs/{cancelled}/cancel")
    done = await gateway.submit()
    finish(worker, await asyncio.to_thread(claim_one, worker))

    async def retry(**query: Any) -> Any:
        answer = await gateway.admin.post("/v1/jobs/retry", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def statuses(*job_ids: str) -> set[str]:
        return {(await view(gateway, job_id))["status"] for job_id in job_ids}

    assert await retry(task="chat", since="1h", limit=2) == {"retried": 2, "skipped": 0, "more": True}
    assert await retry(task="chat", since="2020-01-01T00:00:00Z") == {"retried": 3, "skipped": 0, "more": False}
    assert await statuses(*chats) == {"queued"}
    assert await statuses(old, report) == {"failed"}
    assert await retry(since="2999-01-01") == {"retried": 0, "skipped": 0, "more": False}
    assert await retry(since="P999999D", status="expired") == {"retried": 0, "skipped": 0, "more": False}
    assert await retry() == {"retried": 2, "skipped": 0, "more": False}
    assert await retry(status="cancelled") == {"retried": 1, "skipped": 0, "more": False}
    assert await statuses(old, report, cancelled) == {"queued"}
    assert await statuses(done) == {"succeeded"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=succeeded", "status"),
        ("status=running", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-02-30", "since"),
        ("since=-5m", "since"),
        ("task=nope", "task"),
        ("tsk=chat", "tsk"),
    ],
)
async def test_a_wrong_filter_retries_nothing(gateway: Gateway, worker: Book, query: str, field: str) -> None:
    job_id = await dead(gateway, worker)
    problem = is_problem(await gateway.admin.post(f"/v1/jobs/retry?{query}"), 422)
    assert [error["field"] for error in problem["errors"]] == [f"query.{field}"]
    is_problem(await gateway.ann.post("/v1/jobs/retry"), 403)
    assert (await view(gateway, job_id))["status"] == "failed"


async def test_few_failures_among_many_jobs_are_found_at_once(gateway: Gateway, worker: Book) -> None:
    failed = [await dead(gateway, worker) for _ in range(3)]
    worker.run(maintenance.index_statuses())  # as the clock does: then the indexes of statuses are trusted
    index = {f"x{number}": 9e15 + number for number in range(2500)}  # newer ones, whose records are long gone
    await asyncio.to_thread(worker.client.zadd, "tandem:jobs:ann", index)
    before = await _commands(worker)
    page = (await gateway.ann.get("/v1/jobs?status=failed&limit=2")).json()
    assert await _commands(worker) - before < 100, "the others were not looked at"
    rest = (await gateway.ann.get("/v1/jobs", params={"status": "failed", "cursor": page["next"]})).json()
    assert [job["id"] for job in page["jobs"] + rest["jobs"]] == failed[::-1]
    assert rest["next"] is None
    assert (await gateway.bob.get("/v1/jobs?status=failed")).json()["jobs"] == []


async def _commands(book: Book) -> int:
    """Commands so far, also those that scripts called."""
    stats = await asyncio.to_thread(book.client.info, "commandstats")
    return sum(entry["calls"] for entry in stats.values())  # type: ignore[union-attr]


# --- delete


async def test_a_finished_job_is_erased_with_all_that_it_made(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id = await gateway.submit("report", BODIES["report"])
    is_problem(await gateway.ann.delete(f"/v1/jobs/{job_id}"), 409)
    lease = claim_one(worker, "sync")
    is_problem(await gateway.ann.delete(f"/v1/jobs/{job_id}"), 409)
    file: dict[str, Any] = {"owner": "ann", "name": "a.pdf", "media_type": "application/pdf", "content": b"x"}
    _lost, kept = (files.put(job=job_id, run=run, **file) for run in (1, 2))
    other = files.put(job=f"{job_id}X", run=1, **file)
    finish(worker, lease, "{}", kept)
    worker.client.set(f"tandem:sent:{job_id}", "[]")
    is_problem(await gateway.bob.delete(f"/v1/jobs/{job_id}"), 404)
    answer = await gateway.ann.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [entry.key for entry in files.list()] == [other.key]
    assert not list(worker.client.scan_iter(f"*{job_id}*"))
    assert (await gateway.ann.get("/v1/jobs")).json()["jobs"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")):
        is_problem(await gateway.ann.request(method, f"/v1/jobs/{job_id}{path}"), 404)


async def test_an_erasure_that_breaks_off_leaves_nothing_without_an_owner(
    gateway: Gateway, worker: Book, files: Artifacts
) -> None:
    job_id = await gateway.submit("report", BODIES["report"])
    file = files.put(owner="ann", job=job_id, run=1, name="a.pdf", media_type="application/pdf", content=b"x")
    finish(worker, claim_one(worker, "sync"), "{}", file)
    worker.client.config_set("min-replicas-to-write", 1)  # it reads as before, and refuses to write
    try:
        is_problem(await gateway.ann.delete(f"/v1/jobs/{job_id}"), 503)
    finally:
        worker.client.config_set("min-replicas-to-write", 0)
    assert (await view(gateway, job_id))["status"] == "succeeded"
    assert (await gateway.ann.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert list(files.list()) == []


async def test_of_a_retry_and_an_erasure_one_wins(gateway: Gateway, worker: Book) -> None:
    outcomes: Counter[tuple[int, int]] = Counter()
    for _ in range(40):
        job_id = await dead(gateway, worker)
        retried, erased = await shuffled(
            partial(gateway.ann.post, f"/v1/jobs/{job_id}/retry"),
            partial(gateway.ann.delete, f"/v1/jobs/{job_id}"),
        )
        outcomes[retried.status_code, erased.status_code] += 1
        if retried.status_code == 200:
            assert (await view(gateway, job_id))["status"] == "queued"
            finish(worker, await asyncio.to_thread(claim_one, worker))
    assert set(outcomes) == {(200, 409), (404, 204)}, outcomes


async def test_another_owners_job_can_not_be_changed(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    for action in ("cancel", "retry"):
        is_problem(await gateway.bob.post(f"/v1/jobs/{job_id}/{action}"), 404)
        is_problem(await gateway.nobody.post(f"/v1/jobs/{job_id}/{action}"), 401)
    assert (await view(gateway, job_id))["status"] == "queued"
    assert (await gateway.admin.post(f"/v1/jobs/{job_id}/cancel")).json()["status"] == "cancelled"
    assert worker.client.zcard("arq:queue") == 0


async def test_one_line_of_the_log_says_who_cancelled_a_job(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tandem.api")
    job_id = await gateway.submit()
    for status in (200, 409):
        assert (await gateway.admin.post(f"/v1/jobs/{job_id}/cancel")).status_code == status
    lines = [record for record in caplog.records if "cancelled" in record.getMessage()]
    assert [(record.getMessage(), record.__dict__["job"]) for record in lines] == [
        ("cancelled by root, it was queued", job_id)
    ]
