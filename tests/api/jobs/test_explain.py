"""Why a job waits: what is said of it in each case, how many are before it, and when it is to start."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes
from tandem.shared.store import leases, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits import explanation, operations
from tandem.shared.store.queues import QueueName
from tests.support.gateway import BODIES, CHAT, Gateway, is_problem
from tests.support.jobs import FAILURE, TTL, claim, claim_one, fail
from tests.support.limits.fairness import told
from tests.support.processes import until
from tests.support.servers.provider_stub import said, serve_stub
from tests.support.workers.llm import Pool, pool

MODEL = "gpt-5.4-mini"
NONE = Scopes({}, {}, default="p")
SECOND_US = 1_000_000
pools = pytest.mark.parametrize(("queue", "task"), [("llm", "chat"), ("sync", "report")])


async def explained(gateway: Gateway, job_id: str) -> dict[str, Any]:
    answer = await gateway.ann.get(f"/v1/jobs/{job_id}/explain")
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"because", "detail", "ahead", "estimated_start"}
    body: dict[str, Any] = answer.json()
    return body


def starts_in(said: dict[str, Any]) -> float:
    return (datetime.fromisoformat(said["estimated_start"]) - datetime.now(UTC)).total_seconds()


def show_workers(book: Book, scopes: Scopes = NONE) -> None:
    """Be a worker of each pool that is alive and has told of its models."""
    for queue in ("llm", "sync"):
        book.run(leases.renew(queue, [], worker="w"))
    book.run(explanation.announce("w", models=scopes.table(), limits=scopes.told()))


def claim_with(book: Book, scopes: Scopes) -> list[leases.Lease]:
    return book.run(leases.claim_llm(worker="w", limit=100, ttl=TTL, models=scopes.table())).leases


async def many(gateway: Gateway, count: int, task: str = "chat", priority: str = "normal") -> list[str]:
    paths = f"/v1/{task}?priority={priority}"
    return [(await gateway.ann.post(paths, json=BODIES[task])).json()["id"] for _ in range(count)]


@pools
async def test_each_reason_is_named(gateway: Gateway, worker: Book, queue: str, task: str) -> None:
    job_id = await gateway.submit(task, BODIES[task])
    said = await explained(gateway, job_id)
    assert (said["because"], said["detail"]) == ("no_worker", f"no worker of the {queue} pool is alive")
    show_workers(worker)
    said = await explained(gateway, job_id)
    assert (said["because"], said["ahead"], said["estimated_start"]) == ("fair_order", 0, None)
    assert said["detail"].startswith("it is next")
    worker.run(queues.pause(QueueName(queue), paused=True))
    said = await explained(gateway, job_id)
    assert (said["because"], said["detail"]) == ("paused", f"the {queue} queue is paused")
    worker.run(queues.pause(QueueName(queue), paused=False))
    later = (await gateway.ann.post(f"/v1/{task}?delay=60", json=BODIES[task])).json()
    said = await explained(gateway, later["id"])
    assert (said["because"], said["ahead"], said["estimated_start"]) == ("scheduled", None, later["run_at"])
    assert later["run_at"] in said["detail"]
    lease = claim_one(worker, queue)
    assert await explained(gateway, job_id) == {
        "because": None, "detail": "running", "ahead": None, "estimated_start": None,
    }  # fmt: skip
    again = RetryIn(timedelta(seconds=30), FAILURE)
    worker.run(leases.give_up(lease, again, usage=Usage(), ttl=TTL))
    said = await explained(gateway, job_id)
    assert (said["because"], said["ahead"]) == ("retry", None)
    assert 25 < starts_in(said) <= 30
    await gateway.ann.post(f"/v1/jobs/{job_id}/cancel")
    assert (await explained(gateway, job_id))["detail"] == "cancelled"


@pools
async def test_a_tenant_that_has_as_many_running_as_it_may_waits_for_one_of_them(
    gateway: Gateway, worker: Book, queue: str, task: str
) -> None:
    show_workers(worker)
    worker.run(told({"ann": {"concurrency": {queue: 1}}}))
    ids = await many(gateway, 4, task)
    claim_one(worker, queue)
    said = await explained(gateway, ids[3])
    assert (said["because"], said["ahead"], said["estimated_start"]) == ("tenant_concurrency", 2, None)
    assert said["detail"] == f"as many jobs of ann run in the {queue} pool as may at once; about 2 jobs are before it"
    assert not claim(worker, queue)
    assert await explained(gateway, ids[3]) == said, "it stands aside"
    assert (await explained(gateway, ids[1]))["ahead"] == 0
    worker.run(told({}))
    assert (await explained(gateway, ids[3]))["because"] == "fair_order"


@pools
async def test_its_start_is_told_by_what_ends_of_its_own(gateway: Gateway, worker: Book, queue: str, task: str) -> None:
    show_workers(worker)
    worker.run(told({"ann": {"concurrency": {queue: 1}}}))
    worker.client.hset(f"tandem:queue:{queue}", "running", "9")
    worker.client.set(f"tandem:rate:{queue}:{int(time.time()) // 10 - 4}", 450)  # about ten a second, of ten that run
    ids = await many(gateway, 30, task)
    claim_one(worker, queue)
    assert not claim(worker, queue)
    assert 20 < starts_in(await explained(gateway, ids[29])) < 60
    submitted = (await gateway.ann.post(f"/v1/{task}", json=BODIES[task])).json()
    assert 20 < starts_in(submitted) < 60


async def test_somebody_elses_job_is_none(gateway: Gateway) -> None:
    job_id = await gateway.submit()
    is_problem(await gateway.bob.get(f"/v1/jobs/{job_id}/explain"), 404)
    is_problem(await gateway.nobody.get(f"/v1/jobs/{job_id}/explain"), 401)
    is_problem(await gateway.ann.get("/v1/jobs/nope/explain"), 404)
    is_problem(await gateway.ann.get(f"/v1/jobs/{job_id}/explain?x=1"), 422)
    assert (await gateway.admin.get(f"/v1/jobs/{job_id}/explain")).status_code == 200


async def test_a_limit_that_has_no_room_is_named_and_tells_when_the_last_one_starts(
    gateway: Gateway, worker: Book
) -> None:
    scopes = Scopes({"p": Limits(rpm=600)}, {}, default="p")
    show_workers(worker, scopes)
    ids = [job_id for _ in range(3) for job_id in await many(gateway, 15)]
    started = claim_with(worker, scopes)
    waiting = [job_id for job_id in ids if job_id not in {lease.id for lease in started}]
    assert len(waiting) > 30
    said = await explained(gateway, waiting[-1])
    assert (said["because"], said["ahead"]) == ("limiter", len(waiting) - 1)
    assert said["detail"].startswith("the limit p rpm has no room until ")
    assert said["detail"].endswith(f"; about {len(waiting) - 1} jobs are before it")
    assert len(waiting) / 10 - 1.5 < starts_in(said) < len(waiting) / 10 + 0.5


async def test_the_estimate_is_when_it_starts(gateway: Gateway, worker: Book) -> None:
    scopes = Scopes({"p": Limits(rpm=600)}, {}, default="p")
    show_workers(worker, scopes)
    ids = await many(gateway, 30)
    said = await explained(gateway, ids[-1])
    promised = time.monotonic() + starts_in(said)
    until(lambda: any(lease.id == ids[-1] for lease in claim_with(worker, scopes)), what="the last one's start")
    assert abs(time.monotonic() - promised) < 1


async def test_requests_at_once_are_a_limit(gateway: Gateway, worker: Book) -> None:
    scopes = Scopes({"p": Limits(concurrency=1)}, {}, default="p")
    show_workers(worker, scopes)
    ids = await many(gateway, 2)
    assert [lease.id for lease in claim_with(worker, scopes)] == ids[:1]
    said = await explained(gateway, ids[1])
    assert (said["because"], said["ahead"]) == ("limiter", 0)
    assert "p concurrency" in said["detail"]


@pytest.mark.parametrize("kind", ["busy", "down"])
async def test_a_park_is_named_with_how_long_it_lasts(gateway: Gateway, worker: Book, kind: str) -> None:
    show_workers(worker)
    job_id = await gateway.submit()
    scope = f"p:{MODEL}"
    worker.run(operations.operate([{"op": "park", "scope": scope, "label": "p|m", "delay": 30 * SECOND_US}]))
    worker.client.hset(f"tandem:park:{scope}", "kind", kind)
    said = await explained(gateway, job_id)
    assert said["because"] == "limiter"
    assert said["detail"].startswith(f"{scope} takes no requests until 20")
    if kind == "busy":
        assert 25 < starts_in(said) <= 30
    else:
        assert "nobody answers" in said["detail"]
        assert said["estimated_start"] is None, "nobody can say when it is back"


async def test_who_was_given_back_for_a_park_waits_for_that(gateway: Gateway, worker: Book) -> None:
    show_workers(worker)
    job_id = await gateway.submit()
    scope = f"p:{MODEL}"
    lease = claim_one(worker)
    worker.run(operations.operate([{"op": "park", "scope": scope, "label": "p|m", "delay": 30 * SECOND_US}]))
    back = HandBack(timedelta(seconds=30), throttled=True, begun=True)
    worker.run(leases.give_up(lease, back, usage=Usage(), ttl=TTL))
    said = await explained(gateway, job_id)
    assert (said["because"], said["detail"].split()[0]) == ("limiter", scope)
    assert worker.run(operations.lift(scope))
    assert (await explained(gateway, job_id))["because"] == "retry"


@pytest.mark.parametrize("over", [False, True], ids=["parked", "tried"])
async def test_nobody_says_when_a_job_of_a_provider_that_is_down_starts(
    gateway: Gateway, worker: Book, *, over: bool
) -> None:
    """Neither of one that has just come nor of one that was put back until the end of the park."""
    show_workers(worker)
    scope = f"p:{MODEL}"
    back, fresh = await gateway.submit(), await gateway.submit()
    lease = claim_one(worker)
    assert lease.id == back
    worker.run(operations.operate([{"op": "failed", "scope": scope, "job": back, "refused": True}]))
    down = HandBack(timedelta(seconds=30), begun=False)
    worker.run(leases.give_up(lease, down, usage=Usage(), ttl=TTL))
    if over:  # and somebody tries it
        worker.client.sadd(f"tandem:limit:probes:{scope}", "a:1:0")
        worker.client.hset(f"tandem:park:{scope}", "until", f"{time.time_ns() // 1000}")
    for job_id in (back, fresh):
        said = await explained(gateway, job_id)
        assert (said["because"], said["estimated_start"]) == ("limiter", None), said


async def test_others_are_before_a_job_with_their_share_and_never_with_their_backlog(
    gateway: Gateway, worker: Book
) -> None:
    show_workers(worker)
    await many(gateway, 40)
    claim_one(worker)  # time goes on
    mine = [(await gateway.bob.post("/v1/chat", json=CHAT)).json()["id"] for _ in range(3)]
    ahead = [(await gateway.bob.get(f"/v1/jobs/{job_id}/explain")).json()["ahead"] for job_id in mine]
    order = [lease.id for lease in claim(worker)]
    really = [order.index(job_id) for job_id in mine]
    assert all(abs(said - real) <= 1 for said, real in zip(ahead, really, strict=True)), (ahead, really)
    assert ahead[2] < 7


async def test_a_limit_on_another_model_is_none_of_its(gateway: Gateway, worker: Book) -> None:
    show_workers(worker)
    worker.run(operations.operate([{"op": "park", "scope": "p:slow", "label": "x", "delay": 30 * SECOND_US}]))
    slow = (await gateway.ann.post("/v1/chat", json=CHAT | {"model": "slow"})).json()["id"]
    said = await explained(gateway, slow)
    assert (said["because"], said["detail"].split()[0]) == ("limiter", "p:slow")
    assert (await explained(gateway, await gateway.submit()))["because"] == "fair_order"


@pytest.mark.parametrize("task", ["chat", "report"])
async def test_priorities_are_counted_by_their_turns(gateway: Gateway, worker: Book, task: str) -> None:
    show_workers(worker)
    [low] = await many(gateway, 1, task, "low")
    await many(gateway, 30, task, "high")
    [normal] = await many(gateway, 1, task)
    assert (await explained(gateway, normal))["ahead"] == 5
    assert (await explained(gateway, low))["ahead"] == 19
    [high] = await many(gateway, 1, task, "high")
    assert (await explained(gateway, high))["ahead"] == 32


@pytest.mark.parametrize("task", ["chat", "report"])
async def test_turns_of_a_priority_that_has_no_jobs_are_counted_for_the_next(
    gateway: Gateway, worker: Book, task: str
) -> None:
    show_workers(worker)
    [low] = await many(gateway, 1, task, "low")
    await many(gateway, 38, task, "normal")
    assert (await explained(gateway, low))["ahead"] == 19


@pools
async def test_the_estimate_of_an_unlimited_queue_is_how_fast_it_drains(
    gateway: Gateway, worker: Book, queue: str, task: str
) -> None:
    show_workers(worker)
    ids = await many(gateway, 40, task)
    for _ in range(10):
        fail(worker, claim_one(worker, queue))
    said = await explained(gateway, ids[-1])
    assert (said["because"], said["ahead"]) == ("fair_order", 29)
    assert said["detail"].endswith("about 29 jobs are served before it")
    per_second = worker.run(queues.look(QueueName(queue))).rate_per_minute / 60
    assert starts_in(said) == pytest.approx(29 / per_second, abs=2)


@pytest.mark.slow
async def test_a_submission_s_answer_says_when_it_starts(gateway: Gateway, workers: Pool) -> None:
    async with serve_stub() as stub:
        stub.script(said("hi"))
        await asyncio.to_thread(workers.start, TANDEM_LLM_RPM="240", OPENAI_BASE_URL=stub.url)
        has_told = lambda: cast("int", workers.book.client.exists(LimitKey.LIMIT_MODELS))  # noqa: E731
        await asyncio.to_thread(until, has_told, what="a worker that tells of its limits")
        jobs = [(await gateway.ann.post("/v1/chat", json=CHAT)).json() for _ in range(50)]
        ids = [job["id"] for job in jobs]
        ended = await asyncio.to_thread(workers.finished, ids)
    began = {job.id: (job.started_at - job.created_at).total_seconds() for job in ended if job.started_at}
    told = {job["id"]: starts_after(job) for job in jobs}
    assert began[ids[-1]] > 8
    for job_id in ids[20:]:
        assert began[job_id] / 1.5 <= (told[job_id] or 0) <= began[job_id] * 1.5, (told, began)


def starts_after(job: dict[str, Any]) -> float | None:
    """Seconds from its submission to its estimated start."""
    if job["estimated_start"] is None:
        return None
    return (datetime.fromisoformat(job["estimated_start"]) - datetime.fromisoformat(job["created_at"])).total_seconds()


MANY, AT_ONCE = 200_000, 5_000  # jobs; so many are made in one script, which keeps Redis busy
FILL = """
local lane, first, last = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i = first, last do
  local owner, id = 't' .. (i % 10000), 'job' .. i
  redis.call('ZADD', 'tandem:lane:jobs:normal:' .. owner .. ':' .. lane, i, id)
  redis.call('ZADD', 'tandem:lane:tenants:' .. lane, i % 10000, owner)
  redis.call('HINCRBY', 'tandem:share:llm', owner, 1)
  redis.call('ZADD', 'tandem:lane:jobs:normal:flood:~sync', 1000 + i, id)
  redis.call('HSET', 'tandem:job:' .. id, 'ready_at', 1000 + i, 'status', 'queued', 'queue', 'sync', 'task', 'email',
    'owner', 'flood', 'priority', 'normal', 'attempt', 0, 'created_at', i)
end
redis.call('HSET', 'tandem:queue:llm', 'queued', last)
redis.call('HSET', 'tandem:queue:sync', 'queued', last)
"""


def commands(worker: Book) -> int:
    stats: Any = worker.client.info("commandstats")
    return sum(one["calls"] for one in stats.values())


@pytest.mark.slow
async def test_it_is_quick_however_many_wait(gateway: Gateway, worker: Book) -> None:
    job_id = await gateway.submit()
    for first in range(1, MANY, AT_ONCE):
        await asyncio.to_thread(worker.client.eval, FILL, 0, MODEL, str(first), str(first + AT_ONCE - 1))
    show_workers(worker)
    for name in (job_id, "job1", f"job{MANY // 2}", f"job{MANY}"):
        before = commands(worker)
        said = worker.run(explanation.explain(name))
        assert commands(worker) - before < 150
        assert said is not None
        assert said.because == "fair_order"
        assert said.ahead == (0 if name == job_id else int(name.removeprefix("job")) - 1)


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


@pytest.mark.slow
async def test_a_real_worker_tells_which_limits_there_are(gateway: Gateway, workers: Pool) -> None:
    """The gateway's own settings know nothing of them."""
    assert gateway.settings.llm_rpm is None
    async with serve_stub() as stub:
        stub.script(said("hi"))
        await asyncio.to_thread(workers.start, TANDEM_LLM_RPM="1", OPENAI_BASE_URL=stub.url)
        ids = await many(gateway, 2)

        def limit() -> str:
            explained = workers.book.run(explanation.explain(ids[1]))
            return explained.name if explained else ""

        await asyncio.to_thread(until, limit, what="a limit as the reason")
        assert limit() == "127.0.0.1 rpm"
