"""Idle jobs and real workers of the asyncio pool."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tandem.shared.jobs.model import Job
from tandem.shared.limits.numbers import US
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits.operations import operate
from tandem.shared.tasks.spec import Priority
from tests.support import chats
from tests.support.limits.claims import Work, store
from tests.support.processes import until
from tests.support.servers.provider_stub import eventually, said, serve_stub
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
IDLE = Priority.IDLE


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


def test_what_is_idle_starts_when_nothing_else_waits(workers: Pool) -> None:
    idle = [workers.put("wait", seconds=0.2, priority=IDLE) for _ in range(10)]
    others = [workers.put("wait", seconds=0.2, priority=Priority.LOW) for _ in range(10)]
    for _ in range(2):
        workers.start(TANDEM_LLM_CONCURRENCY="2")
    until(lambda: workers.runs(idle[2]), what="idle jobs to run")
    urgent = workers.job(workers.put())
    jobs = workers.finished([*idle, *others, urgent.id])
    began = {job.id: job.started_at for job in jobs if job.started_at}
    assert max(began[job_id] for job_id in others) <= min(began[job_id] for job_id in idle)
    assert not [job_id for job_id in idle if urgent.created_at < began[job_id] < began[urgent.id]]


def test_a_worker_of_one_place_runs_them_beside_a_model_that_is_parked(workers: Pool) -> None:
    workers.start(TANDEM_LLM_CONCURRENCY="1")
    until(lambda: workers.book.client.exists(LimitKey.LIMIT_MODELS), what="the worker to say what it knows")
    provider = json.loads(cast("Any", workers.book.client.get(LimitKey.LIMIT_MODELS)))["provider"]
    park = {"op": "park", "scope": f"{provider}:parked", "label": "parked", "delay": timedelta(minutes=1) // US}
    workers.book.run(operate([park]))
    waiting = Work(model="parked").job()
    workers.book.run(store([waiting])[0])
    workers.finished([workers.put(priority=IDLE)])
    assert not workers.job(waiting.id).finished


async def test_idle_requests_leave_a_fifth_of_the_limit_to_who_comes(async_book: AsyncBook, workers: Pool) -> None:
    async with serve_stub() as stub:
        stub.script(said("hi"))
        await asyncio.to_thread(workers.start, TANDEM_LLM_RPM="300", OPENAI_BASE_URL=stub.url)
        idle = await chats.submit(async_book, 30, priority=IDLE)
        await eventually(lambda: len(stub.bodies) >= 10)
        [urgent] = await chats.finished(async_book, await chats.submit(async_book, 1))
        jobs = await chats.finished(async_book, idle)
    assert waited(urgent) < timedelta(seconds=0.7)
    began = sorted(job.started_at for job in jobs if job.started_at)
    assert began[-1] - began[0] >= timedelta(seconds=28 / 4 * 0.9), "four of the five that the limit allows a second"


def waited(job: Job) -> timedelta:
    assert job.started_at is not None
    return job.started_at - job.created_at
