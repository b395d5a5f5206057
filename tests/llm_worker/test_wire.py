"""What dispatch writes is what arq itself would write, and arq's own tools tell the truth about it."""

import json
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job as ArqJob
from arq.jobs import JobStatus, serialize_job

from shared import store
from shared.book import AsyncBook
from shared.catalog import load
from shared.dispatch import Dispatcher, arq_head
from shared.job import Usage
from tests.shared.test_book import TTL

CHAT = load()["chat"]


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_the_wire_format_is_arqs() -> None:
    ours = f"{arq_head('chat')}1700000000000}}".encode()
    assert ours == serialize_job("chat", (), {}, None, 1_700_000_000_000, serializer=to_json)


@pytest.fixture
async def arq(valkey: str) -> Any:
    connection = ArqRedis.from_url(valkey)
    connection.job_deserializer = json.loads
    yield connection
    await connection.aclose()


async def test_arqs_job_tells_the_truth(async_book: AsyncBook, arq: ArqRedis) -> None:
    dispatcher = Dispatcher(async_book, queue_max=10)
    submitted = await dispatcher.submit(CHAT, CHAT.input.model_validate(CHAT.example), owner="ann", request_id="r")
    job: Any = ArqJob(submitted.id, arq, _deserializer=json.loads)
    assert await job.status() is JobStatus.queued
    info = await job.info()
    assert (info.function, info.enqueue_time) == ("chat", submitted.created_at)
    [lease] = (await async_book.run(store.claim_llm(worker="w", limit=1, ttl=TTL))).leases
    assert await job.status() is JobStatus.in_progress
    await async_book.run(store.succeed(lease, store.Success("{}"), usage=Usage(), ttl=TTL))
    assert await job.status() is JobStatus.not_found
    assert await arq.queued_jobs() == []
