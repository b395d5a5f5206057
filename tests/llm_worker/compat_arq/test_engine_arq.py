"""What people know of arq stays true: its command, its client, its settings."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from arq import ArqRedis
from arq.jobs import Job, JobStatus, SerializationError

from tandem.llm_worker.compat_arq.redis_settings import redis_settings
from tandem.llm_worker.compat_arq.wire_format import job_deserializer, job_serializer
from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import Book
from tests.support.processes import ROOT, clean_environment, until
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow

ARQ = [str(Path(sys.executable).with_name("arq")), "tandem.llm_worker.main.WorkerSettings"]
PLAIN = [ARQ[0], "tests.support.tasks.arq_functions.WorkerSettings"]


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


@pytest.fixture
async def client(valkey: str) -> AsyncIterator[ArqRedis]:
    connections = async_client(valkey).connection_pool
    yield ArqRedis(connections, job_serializer=job_serializer, job_deserializer=job_deserializer)
    await connections.disconnect()


async def enqueue(client: ArqRedis, *args: object, queue: str = "arq:queue", **options: object) -> Job:
    job = await client.enqueue_job(*args, _queue_name=queue, **options)  # type: ignore[arg-type]
    assert job is not None
    return job


def check(workers: Pool) -> int:
    env = {**clean_environment(), "REDIS_URL": workers.url, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    return subprocess.run([*ARQ, "--check"], cwd=ROOT, env=env, check=False, capture_output=True).returncode


def test_the_arq_command_starts_the_same_worker_and_check_tells_the_truth(workers: Pool) -> None:
    assert check(workers) == 1
    worker = workers.start(*ARQ, "--verbose", TANDEM_LOG_LEVEL="info")
    assert workers.finished([workers.put()])[0].status is Status.SUCCEEDED
    until(lambda: workers.book.client.get("arq:queue:health-check"), what="the health key")
    assert check(workers) == 0
    assert "j_complete=" in (workers.book.client.get("arq:queue:health-check") or b"").decode()  # type: ignore[union-attr]
    assert worker.stop() == 0
    assert check(workers) == 1, "nobody is there any more"


async def test_a_job_of_plain_arq_is_adopted(workers: Pool, client: ArqRedis) -> None:
    workers.start(*ARQ, "--no-burst")
    by_keywords = await enqueue(client, "odd", how="wait", seconds=1, queue="arq:queue:high")
    by_dict = await enqueue(client, "odd", {"how": "well"})
    by_position = await enqueue(client, "odd", "well", _job_id="my own id", _defer_by=1.5)
    wrong = await enqueue(client, "odd", how="well", colour="red")
    assert await by_position.status() is JobStatus.deferred
    await asyncio.to_thread(until, lambda: workers.book.client.exists(f"arq:in-progress:{by_keywords.job_id}"))
    assert await by_keywords.status() is JobStatus.in_progress
    for job in (by_keywords, by_dict, by_position):
        assert set(await job.result(timeout=60, poll_delay=0.05)) == {"done"}
        assert await job.status() is JobStatus.complete
    with pytest.raises(SerializationError, match="invalid_input: colour: Extra inputs are not permitted"):
        await wrong.result(timeout=60, poll_delay=0.05)
    info = await by_keywords.result_info()
    assert info is not None
    assert (info.function, info.kwargs, info.success) == ("odd", {"how": "wait", "seconds": 1}, True)
    assert (info.queue_name, info.job_id, info.job_try) == ("arq:queue:high", by_keywords.job_id, 1)
    kept = workers.job("my own id")
    assert (kept.owner, kept.status, kept.priority) == ("external", Status.SUCCEEDED, "normal")
    assert workers.job(by_keywords.job_id).priority == "high"
    assert await client.enqueue_job("odd", "well", _job_id="my own id") is None, "as long as its result is kept"


async def test_aborting_by_arqs_client_stops_the_work(workers: Pool, client: ArqRedis) -> None:
    worker = workers.start(*ARQ)
    running = await enqueue(client, "odd", how="wait", seconds=25)
    later = await enqueue(client, "odd", how="well", _defer_by=60)
    await asyncio.to_thread(until, lambda: workers.book.client.exists(f"arq:in-progress:{running.job_id}"))
    assert await running.abort(timeout=10)
    assert await later.abort(timeout=10)
    assert workers.job(running.job_id).status is Status.CANCELLED
    worker.until_says(f"{running.job_id} is not ours any more")
    plain = Job(running.job_id, client, _deserializer=job_deserializer)
    with pytest.raises(asyncio.CancelledError):
        await plain.result(timeout=1)


async def test_other_functions_and_cron_jobs_of_the_settings(workers: Pool, client: ArqRedis) -> None:
    first = next(workers.start(*PLAIN) for _ in range(2))
    doubled = await enqueue(client, "double", 21, queue="arq:queue:low")
    retried, left = await enqueue(client, "again"), await enqueue(client, "leave")
    stranger = await enqueue(client, "somebody_elses", 1)
    assert await doubled.result(timeout=60, poll_delay=0.05) == 42
    assert await retried.result(timeout=60, poll_delay=0.05) == 2
    with pytest.raises(SerializationError, match="SystemExit: 3"):
        await left.result(timeout=60, poll_delay=0.05)
    assert workers.finished([workers.put()])[0].status is Status.SUCCEEDED, "and our own"

    def notes() -> list[str]:
        """The times that they were for, and not those at which a busy machine ran them."""
        return sorted(path.name.split(".")[1] for path in workers.folder.glob("note.*"))

    await asyncio.to_thread(until, lambda: len(notes()) >= 4, what="cron jobs")
    assert len(notes()) == len(set(notes())), "once a second over two workers"
    assert await stranger.status() in {JobStatus.deferred, JobStatus.queued}, "left to its owner"
    assert first.output.count("somebody_elses") <= 1
    assert {key for key in workers.book.client.keys("arq:job:*") if b"note" not in key} == {  # type: ignore[union-attr]
        f"arq:job:{stranger.job_id}".encode()
    }


def test_what_python_can_do_and_json_cannot_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for wrong in ({"r": object()}, {"r": float("nan")}):
        with pytest.raises((TypeError, ValueError)):
            job_serializer(wrong)
    for content in (b"[]", b"\x80\x04."):
        with pytest.raises(ValueError):  # noqa: PT011 - any will do
            job_deserializer(content)


def test_arqs_own_view_of_redis_is_decoded_and_shows_no_password() -> None:
    there = redis_settings("rediss://ann:p%40ss@example.com:6380/3")
    assert (there.host, there.port, there.database, there.ssl) == ("example.com", 6380, 3, True)
    assert (there.username, there.password) == ("ann", "p@ss")
    assert "p@ss" not in repr(there)
    assert redis_settings("unix:///tmp/v.sock?db=2").unix_socket_path == "/tmp/v.sock"  # noqa: S108 - a name
    by_sentinel = redis_settings("redis+sentinel://:x@one,two:5/name/1")
    assert (by_sentinel.host, by_sentinel.sentinel_master) == ([("one", 26379), ("two", 5)], "name")
