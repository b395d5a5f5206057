"""The queues as an operator sees them."""

import os

import pytest

from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tests.support.gateway import BODIES, CHAT, Gateway, is_problem
from tests.support.jobs import claim_one, fail

FIELDS = {
    "name", "waiting", "scheduled", "running", "failed", "oldest_age", "rate_per_minute", "paused", "workers",
}  # fmt: skip


@pytest.mark.parametrize(("name", "task"), [("llm", "chat"), ("sync", "report")])
async def test_what_a_queue_holds_and_who_works_on_it(gateway: Gateway, worker: Book, name: str, task: str) -> None:
    for _ in range(3):
        await gateway.submit(task, BODIES[task])
    await gateway.ann.post(f"/v1/{task}?delay=60", json=BODIES[task])
    fail(worker, claim_one(worker, name))
    lease = claim_one(worker, name)
    worker.run(leases.renew(name, [lease], worker="w1"))
    queues = (await gateway.admin.get("/v1/queues")).json()["queues"]
    assert [queue["name"] for queue in queues] == ["llm", "sync", "webhooks"]
    assert all(set(queue) == FIELDS for queue in queues)
    [queue] = [queue for queue in queues if queue["name"] == name]
    counts = {field: queue[field] for field in ("waiting", "scheduled", "running", "failed", "paused")}
    assert counts == {"waiting": 1, "scheduled": 1, "running": 1, "failed": 1, "paused": False}
    assert 0 <= queue["oldest_age"] < 10
    assert queue["rate_per_minute"] > 0
    [shown] = queue["workers"]
    assert 0 <= shown.pop("heartbeat_age") < 10
    assert shown == {"id": "w1", "host": leases.HOST, "pid": os.getpid(), "running": [lease.id]}
    idle = next(queue for queue in queues if queue["name"] == "webhooks")
    assert (idle["waiting"], idle["oldest_age"], idle["rate_per_minute"]) == (0, None, 0)


@pytest.mark.parametrize(("name", "task"), [("llm", "chat"), ("sync", "report")])
async def test_a_paused_queue_takes_jobs_and_starts_none(gateway: Gateway, worker: Book, name: str, task: str) -> None:
    answer = await gateway.admin.post(f"/v1/queues/{name}/pause")
    assert (answer.status_code, answer.json()["paused"], set(answer.json())) == (200, True, FIELDS)
    job_id = await gateway.submit(task, BODIES[task])
    assert worker.run(leases.claim_llm(worker="w", limit=9, ttl=gateway.settings.job_ttl)).leases == []
    assert worker.run(leases.claim_sync(worker="w", ttl=gateway.settings.job_ttl)).leases == []
    assert (await gateway.admin.post(f"/v1/queues/{name}/pause")).status_code == 200, "again is no error"
    answer = await gateway.admin.post(f"/v1/queues/{name}/resume")
    assert (answer.json()["paused"], answer.json()["waiting"]) == (False, 1)
    assert claim_one(worker, name).id == job_id


async def test_queues_are_an_admins_business(gateway: Gateway, worker: Book) -> None:
    for action in ("pause", "resume"):
        is_problem(await gateway.ann.post(f"/v1/queues/llm/{action}"), 403)
        is_problem(await gateway.nobody.post(f"/v1/queues/llm/{action}"), 401)
        for unknown in ("nope", "LLM", "%20"):
            is_problem(await gateway.admin.post(f"/v1/queues/{unknown}/{action}"), 404)
    is_problem(await gateway.ann.get("/v1/queues"), 403)
    assert worker.client.dbsize() == 0
    assert (await gateway.ann.post("/v1/chat", json=CHAT)).status_code == 202
