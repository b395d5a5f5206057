"""What dispatch writes is what arq itself would write, and arq's own tools tell the truth about it."""

import json
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job as ArqJob
from arq.jobs import JobStatus, serialize_job

from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.model import Usage
from tandem.shared.store import leases
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import load
from tests.support.jobs import PLENTY, TTL

CHAT = load()["chat"]
ANN = ApiKey("ann", Role.USER, "a-key-0123456789")


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.fixture
async def arq(valkey: str) -> Any:
    connection = ArqRedis.from_url(valkey)
    connection.job_deserializer = json.loads
    yield connection
    await connection.aclose()


async def test_arqs_job_tells_the_truth(async_book: AsyncBook, arq: ArqRedis) -> None:
    dispatcher = Dispatcher(async_book, admission=PLENTY, idempotency_ttl=TTL)
    payload = CHAT.input.model_validate(CHAT.example)
    submitted = (await dispatcher.enqueue(CHAT, payload, caller=ANN, request_id="r")).job
    assert submitted
    stored = await async_book.client.get(f"arq:job:{submitted.id}")
    created = round(submitted.created_at.timestamp() * 1000)
    assert stored == serialize_job("chat", (), {}, None, created, serializer=to_json)
    job: Any = ArqJob(submitted.id, arq, _deserializer=json.loads)
    assert await job.status() is JobStatus.queued
    info = await job.info()
    assert (info.function, info.enqueue_time) == ("chat", submitted.created_at)
    [lease] = (await async_book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL))).leases
    assert await job.status() is JobStatus.in_progress
    await async_book.run(leases.succeed(lease, leases.Success("{}"), usage=Usage(), ttl=TTL))
    assert await job.status() is JobStatus.not_found
    assert await arq.queued_jobs() == []
