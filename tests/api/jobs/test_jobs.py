import asyncio
import base64
import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from tandem.api.jobs import cursor as cursors
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, Failure, RetryIn, describe
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store import leases, listing
from tandem.shared.store.events import channel
from tandem.shared.store.executor import Book
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import TTL, claim_one, finish

NOTHING: dict[str, str] = {}


async def test_a_finished_job(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    finish(worker, claim_one(worker), '{"text": "hi", "model": "m", "finish_reason": "stop"}')
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert job["status"] == "succeeded"
    assert job["result"] == {"text": "hi", "model": "m", "finish_reason": "stop"}
    assert job["usage"] == {"input_tokens": 3, "output_tokens": 4, "requests": 1}
    assert (job["attempt"], job["provider"], job["error"]) == (1, "openai", None)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["created_at"].endswith("Z")


async def test_a_failed_job_tells_all_its_attempts(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    failure = Failure("rate_limited", "429", retryable=True)
    retry = RetryIn(timedelta(0), failure)
    worker.run(leases.give_up(claim_one(worker), retry, usage=Usage(), ttl=TTL))
    worker.run(leases.give_up(claim_one(worker), Fail(failure), usage=Usage(), ttl=TTL))
    error = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()["error"]
    assert (error["type"], error["message"], error["retryable"]) == ("rate_limited", "429", True)
    assert [entry["attempt"] for entry in error["attempts"]] == [1, 2]
    assert all(entry["at"].endswith("Z") for entry in error["attempts"])


async def test_the_typed_path_is_of_its_task_only(gateway: Gateway) -> None:
    job_id = await gateway.submit()
    assert (await gateway.ann.get(f"/v1/chat/{job_id}")).status_code == 200
    is_problem(await gateway.ann.get(f"/v1/score/{job_id}"), 404)


async def test_another_owners_job_does_not_exist(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id = await gateway.submit("report", {"markdown": "# Secret"})
    file = files.put(owner="ann", job=job_id, run=1, name="a.pdf", media_type="application/pdf", content=b"x")
    finish(worker, claim_one(worker, "sync"), "{}", file)
    for path in (f"/v1/jobs/{job_id}", f"/v1/report/{job_id}", f"/v1/jobs/{job_id}/file"):
        is_problem(await gateway.bob.get(path), 404)
        assert (await gateway.ann.get(path)).status_code == 200
        assert (await gateway.admin.get(path)).status_code == 200


async def test_listing_is_by_owner_with_cursors(gateway: Gateway) -> None:
    mine = [await gateway.submit() for _ in range(5)]
    assert (await gateway.bob.post("/v1/chat", json=CHAT)).status_code == 202
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 2}
    while True:
        page = (await gateway.ann.get("/v1/jobs", params=query)).json()
        seen += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == sorted(mine)
    assert len((await gateway.admin.get("/v1/jobs")).json()["jobs"]) == 6


async def test_listing_filters(gateway: Gateway, worker: Book) -> None:
    chat = await gateway.submit()
    mail = await gateway.submit("email", {"to": ["a@example.com"], "subject": "s", "text": "t"})
    finish(worker, claim_one(worker))
    for query, expected in (("task=email", [mail]), ("queue=llm", [chat]), ("status=succeeded", [chat])):
        jobs = (await gateway.ann.get(f"/v1/jobs?{query}")).json()["jobs"]
        assert [job["id"] for job in jobs] == expected


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "status=lost", "queue=q", "task=nope", "cursor=a"]
)
async def test_a_wrong_query_is_422(gateway: Gateway, query: str) -> None:
    name = query.partition("=")[0]
    problem = is_problem(await gateway.ann.get(f"/v1/jobs?{query}"), 422)
    assert problem["errors"][0]["field"] == f"query.{name}"


@pytest.mark.parametrize(
    "position", ['Infinity, "a"', '1e999, "a"', '"1", "\\ud800"', '"x", "a"', "1, 2", '"1", ""', "[], {}"]
)
async def test_a_forged_cursor_is_422(gateway: Gateway, position: str) -> None:
    mark = cursors._mark(listing.Filter(owner="ann"))
    cursor = base64.urlsafe_b64encode(f'[{position}, "{mark}"]'.encode()).decode()
    is_problem(await gateway.ann.get(f"/v1/jobs?cursor={cursor}"), 422)


async def test_a_cursor_of_another_caller_or_filter_is_422(gateway: Gateway) -> None:
    for _ in range(3):
        await gateway.submit()
    cursor = (await gateway.ann.get("/v1/jobs?limit=1")).json()["next"]
    is_problem(await gateway.bob.get(f"/v1/jobs?cursor={cursor}"), 422)
    is_problem(await gateway.ann.get(f"/v1/jobs?task=chat&cursor={cursor}"), 422)


@pytest.mark.parametrize("wait", ["abc", "-1", "61", "nan", "inf"])
async def test_a_wrong_wait_is_422(gateway: Gateway, wait: str) -> None:
    job_id = await gateway.submit()
    for path in ("jobs", "chat"):
        is_problem(await gateway.ann.get(f"/v1/{path}/{job_id}?wait={wait}"), 422)


async def test_waiting_ends_with_the_job(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    waiting = [asyncio.create_task(gateway.ann.get(f"/v1/jobs/{job_id}?wait=30")) for _ in range(20)]
    preferring = asyncio.create_task(gateway.ann.post("/v1/chat", json=CHAT, headers={"Prefer": "wait=30"}))
    done, _ = await asyncio.wait([*waiting, preferring], timeout=0.2)
    assert not done
    for _ in range(2):
        lease = await asyncio.to_thread(claim_one, worker)
        await asyncio.to_thread(finish, worker, lease)
    async with asyncio.timeout(20):  # before their own time is over
        answers = await asyncio.gather(*waiting, preferring)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}
    assert answers[-1].headers["preference-applied"] == "wait=30"


async def test_waiting_ends_with_its_time(gateway: Gateway) -> None:
    job_id = await gateway.submit()
    answer = await gateway.ann.get(f"/v1/jobs/{job_id}?wait=0.2")
    assert answer.json()["status"] == "queued"
    answer = await gateway.ann.post("/v1/chat", json=CHAT, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202


@pytest.mark.parametrize("header", ["", "wait", "wait=x", "return=minimal", "wait=0", "wait=-5"])
async def test_a_preference_that_means_nothing_is_ignored(gateway: Gateway, header: str) -> None:
    answer = await gateway.ann.post("/v1/chat", json=CHAT, headers={"Prefer": header})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.slow
async def test_many_waiting_clients_cost_redis_next_to_nothing(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    waiting = [asyncio.create_task(gateway.ann.get(f"/v1/jobs/{job_id}?wait=60")) for _ in range(500)]
    subscriptions = gateway.app.state.subscriptions
    async with asyncio.timeout(30):
        while len(subscriptions._feeds.get(channel(job_id), ())) < 500 or await _commands_in(worker, 0.3):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await _commands_in(worker, 2) < 40
    lease = await asyncio.to_thread(claim_one, worker)
    await asyncio.to_thread(finish, worker, lease)
    answers = await asyncio.gather(*waiting)
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}


async def _commands_in(book: Book, seconds: float) -> int:
    """How many commands Redis gets in so many seconds, the counting left out."""

    def count() -> int:
        stats = book.client.info("stats")
        assert isinstance(stats, dict)
        return int(stats["total_commands_processed"])

    before = await asyncio.to_thread(count)
    await asyncio.sleep(seconds)
    return await asyncio.to_thread(count) - before - 1


async def test_the_input_is_shown_to_owner_and_admin_who_ask_for_it(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    path = f"/v1/jobs/{job_id}"
    for client in (gateway.ann, gateway.admin):
        assert "input" not in (await client.get(path)).json()
        assert (await client.get(f"{path}?include=input")).json()["input"]["messages"] == CHAT["messages"]
    finish(worker, claim_one(worker))
    job = (await gateway.ann.get(f"{path}?include=input")).json()
    assert (job["input"]["messages"], job["result"]) == (CHAT["messages"], {"text": "hi"})
    is_problem(await gateway.bob.get(f"{path}?include=input"), 404)
    is_problem(await gateway.ann.get(f"{path}?include=output"), 422)


async def test_admins_see_and_filter_by_owner(gateway: Gateway) -> None:
    job_id = await gateway.submit()
    assert (await gateway.bob.post("/v1/chat", json=CHAT)).status_code == 202
    [job] = (await gateway.admin.get("/v1/jobs?owner=ann")).json()["jobs"]
    assert (job["id"], job["owner"]) == (job_id, "ann")
    assert (await gateway.admin.get(f"/v1/jobs/{job_id}")).json()["owner"] == "ann"
    assert (await gateway.admin.get("/v1/jobs?owner=nobody")).json()["jobs"] == []
    assert "owner" not in (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert "owner" not in (await gateway.ann.get("/v1/jobs")).json()["jobs"][0]
    is_problem(await gateway.ann.get("/v1/jobs?owner=bob"), 403)


async def test_admins_alone_see_where_an_unforeseen_error_was_raised(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    lease = claim_one(worker)
    try:
        NOTHING[lease.payload]
    except KeyError as error:
        failure = describe(error)
    worker.run(leases.give_up(lease, Fail(failure), usage=Usage(), ttl=TTL))
    path = f"/v1/jobs/{job_id}"
    [attempt] = (await gateway.admin.get(path)).json()["error"]["attempts"]
    assert "NOTHING[lease.payload]" in attempt["trace"]
    assert attempt["trace"].endswith("KeyError")
    assert CHAT["messages"][0]["content"] not in attempt["trace"]
    mine = (await gateway.ann.get(path)).json()
    assert "trace" not in mine["error"]["attempts"][0]
    assert "lease.payload" not in json.dumps(mine)
    for watcher in (gateway.ann, gateway.admin):  # one stream for all
        assert "lease.payload" not in (await watcher.get(f"{path}/events")).text
    assert "lease.payload" not in (await gateway.ann.get("/v1/jobs")).text


SPOILT: list[tuple[str, str | bytes]] = [
    ("usage_input", "much"),
    ("result_bytes", "many"),
    ("error", "[1"),
    ("error", '{"type": 7}'),
    ("progress", "7"),
    ("progress", '{"done": "all"}'),
    ("attempt", "x"),
    ("attempts", "7"),
    ("created_at", "9" * 18),
    ("file", "{}"),
    ("deliveries", "[]"),
    ("deliveries", '{"d": {}}'),
    ("task", b"\xff"),
]


@pytest.mark.parametrize(("field", "value"), SPOILT)
async def test_a_job_whose_record_can_not_be_read_is_404_and_says_so(
    gateway: Gateway, worker: Book, field: str, value: str | bytes
) -> None:
    job_id = await gateway.submit()
    client: Any = worker.client
    client.hset(f"tandem:job:{job_id}", field, value)
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}?include=input", f"/v1/chat/{job_id}"):
        for owner in (gateway.ann, gateway.admin):
            assert "can't be read" in is_problem(await owner.get(path), 404)["detail"]
        assert is_problem(await gateway.bob.get(path), 404)["detail"] == "no job with this id"


async def test_a_key_that_is_no_record_is_no_job(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    worker.client.set(f"tandem:job:{job_id}", "no hash")
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events"):
        assert is_problem(await gateway.ann.get(path), 404)["detail"] == "no job with this id"


async def test_what_a_newer_version_wrote_is_passed_on(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    lease = claim_one(worker)
    file = {"key": "k", "name": "n", "media_type": "text/plain", "bytes": 1, "sha256": "0", "colour": "red"}
    new = {"status": "paused", "colour": "red", "file": json.dumps(file), "progress": '{"done": 1, "colour": "red"}'}
    worker.client.hset(f"tandem:job:{job_id}", mapping=new)
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).raise_for_status().json()
    [listed] = (await gateway.ann.get("/v1/jobs")).raise_for_status().json()["jobs"]
    for shown in (job, listed):
        assert (shown["id"], shown["status"], shown["progress"]["done"]) == (lease.id, "paused", 1)


@pytest.mark.parametrize(("field", "value"), SPOILT)
async def test_a_repeat_whose_job_can_not_be_read_is_told_so(
    gateway: Gateway, worker: Book, field: str, value: str | bytes
) -> None:
    headers = {"Idempotency-Key": "k"}
    job_id = (await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)).json()["id"]
    client: Any = worker.client
    client.hset(f"tandem:job:{job_id}", field, value)
    problem = is_problem(await gateway.ann.post("/v1/chat", json=CHAT, headers=headers), 404)
    assert "can't be read" in problem["detail"]


@pytest.mark.parametrize("change", ["POST cancel", "POST retry", "DELETE "])
async def test_what_only_a_newer_version_knows_is_not_changed(
    gateway: Gateway, worker: Book, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    caplog.set_level(logging.INFO, "tandem.api")
    job_id = await gateway.submit()
    worker.client.hset(f"tandem:job:{job_id}", "status", "paused")
    before = worker.client.hgetall(f"tandem:job:{job_id}")
    method, action = change.split(" ")
    problem = is_problem(await gateway.ann.request(method, f"/v1/jobs/{job_id}/{action}".rstrip("/")), 409)
    assert "paused" in problem["detail"]
    assert worker.client.hgetall(f"tandem:job:{job_id}") == before
    assert "cancelled by" not in caplog.text


@pytest.mark.parametrize(("field", "value"), SPOILT)
async def test_a_spoilt_record_hides_no_other_job(
    gateway: Gateway, worker: Book, field: str, value: str | bytes
) -> None:
    first, spoilt, last = [await gateway.submit() for _ in range(3)]
    client: Any = worker.client
    client.hset(f"tandem:job:{spoilt}", field, value)
    answer = await gateway.ann.get("/v1/jobs")
    assert answer.status_code == 200
    assert [job["id"] for job in answer.json()["jobs"]] == [last, first]


async def test_a_key_that_is_no_record_hides_no_job(gateway: Gateway, worker: Book) -> None:
    first, spoilt = [await gateway.submit() for _ in range(2)]
    worker.client.set(f"tandem:job:{spoilt}", "no hash")
    for query in ("", "?status=queued", "?status=failed"):
        answer = await gateway.ann.get(f"/v1/jobs{query}")
        assert answer.status_code == 200
        assert [job["id"] for job in answer.json()["jobs"]] == ([] if "failed" in query else [first])
