"""The clock's process delivers webhooks: a job of the forking pool needs no LLM worker for its own."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName, look
from tests.support.jobs import claim, get, put, succeed
from tests.support.processes import running, until

pytestmark = pytest.mark.slow
LATER = timedelta(seconds=1.5)
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def hung() -> set[str]:
    """The ids of webhooks that the receiver has got and not answered."""
    return set()


@pytest.fixture
async def receiver(hung: set[str]) -> AsyncIterator[str]:
    """A receiver that takes everything but what is sent to /hang, which it never answers, and first to /hang-once."""
    never = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        ids = request.headers["webhook-id"]
        if request.path == "/hang" or (request.path == "/hang-once" and ids not in hung):
            hung.add(ids)
            await never.wait()
        elif request.path == "/hang-once":
            assert hung == {ids}, "a repeat has the same id"
        return web.Response()

    app = web.Application()
    app.router.add_route("POST", "/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    never.set()
    await runner.cleanup()


def ended(book: Book, url: str) -> str:
    job_id = put(book, "report", webhook_url=url)
    succeed(book, claim(book, "sync")[0])
    return job_id


def is_delivered(book: Book, job_id: str) -> bool:
    return [delivery["status"] for delivery in get(book, job_id).deliveries] == ["delivered"]


async def test_webhooks_of_sync_jobs_need_no_llm_worker(book: Book, valkey: str, receiver: str, tmp_path: Path) -> None:
    env = {
        "REDIS_URL": valkey,
        "TANDEM_WEBHOOK_SECRET": SECRET,
        "TANDEM_ALLOW_PRIVATE_WEBHOOKS": "1",
        "TANDEM_GRACE": "1s",
    }

    def watch() -> None:
        with running("tandem.shared.maintenance", env=env, log=tmp_path / "log", says="ready") as clock:
            [worker] = until(lambda: book.run(look(QueueName.WEBHOOKS)).workers, what="who delivers")
            assert worker.pid == clock.popen.pid
            ended(book, f"{receiver}/hang")
            good = ended(book, f"{receiver}/hook")
            until(lambda: is_delivered(book, good), what="the delivery beside one that hangs")
            late = put(book, "report", delay=LATER)
            until(lambda: get(book, late).status == "queued", what="the clock's step beside one that hangs")
        assert not book.run(look(QueueName.WEBHOOKS)).workers

    await asyncio.to_thread(watch)


async def test_the_try_of_a_killed_process_is_made_again(
    book: Book, valkey: str, receiver: str, hung: set[str], tmp_path: Path
) -> None:
    env = {"REDIS_URL": valkey, "TANDEM_WEBHOOK_SECRET": SECRET, "TANDEM_ALLOW_PRIVATE_WEBHOOKS": "1"}

    client: Any = book.client

    def watch() -> None:
        with running("tandem.shared.maintenance", env=env, log=tmp_path / "1", says="ready") as clock:
            job_id = ended(book, f"{receiver}/hang-once")
            key = f"tandem:delivery:{job_id}-1"
            until(lambda: hung, what="the first try, at the receiver")
            clock.stop(signal.SIGKILL)
        assert client.hget(key, "attempt") == b"1"
        book.client.zadd("arq:queue:webhooks", {f"{job_id}-1": 1})  # what time does: the lease of the try is over
        with running("tandem.shared.maintenance", env=env, log=tmp_path / "2", says="ready"):
            until(lambda: is_delivered(book, job_id), what="the second try")
        [delivery] = get(book, job_id).deliveries
        assert delivery["attempt"] == 2

    await asyncio.to_thread(watch)


async def test_a_clock_that_can_not_sign_leaves_webhooks_to_others(
    book: Book, valkey: str, receiver: str, tmp_path: Path
) -> None:
    def watch() -> None:
        env = {
            "REDIS_URL": valkey,
            "RUN_DIR": str(tmp_path),
            "TANDEM_ALLOW_PRIVATE_WEBHOOKS": "1",
            "TANDEM_GRACE": "1s",
        }
        with running("tandem.shared.maintenance", env=env, log=tmp_path / "log", says="ready"):
            job_id = ended(book, f"{receiver}/hook")
            late = put(book, "report", delay=LATER)
            until(lambda: get(book, late).status == "queued", what="some steps of the clock")
            [delivery] = get(book, job_id).deliveries
            assert (delivery["status"], delivery["attempt"]) == ("pending", 0)

    await asyncio.to_thread(watch)
