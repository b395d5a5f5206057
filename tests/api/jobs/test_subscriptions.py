"""What watchers are told when the one connection that they share breaks or falls silent."""

import asyncio

import httpx
import pytest

from tandem.api.jobs import subscriptions
from tandem.api.jobs.event_stream import EventStream
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook, Book
from tests.support.gateway import Gateway
from tests.support.jobs import claim_one, finish, put
from tests.support.processes import until
from tests.support.servers.proxy import Proxy

PATIENCE = 20  # seconds; less than callers wait, so that it is news that ends their wait


async def wait(gateway: Gateway, job_id: str) -> httpx.Response:
    """Wait for a job's end, again if the request itself was hit."""
    answer = await gateway.ann.get(f"/v1/jobs/{job_id}?wait=60")
    return answer if answer.status_code != 503 else await wait(gateway, job_id)


def waiting(gateway: Gateway, job_id: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(wait(gateway, job_id))


async def watched(gateway: Gateway, jobs: int) -> None:
    feeds = gateway.app.state.subscriptions._feeds
    await asyncio.to_thread(until, lambda: len(feeds) >= jobs, what="watchers")


async def ended(book: Book, callers: list[asyncio.Task[httpx.Response]]) -> None:
    """End all jobs; their callers must hear of it."""
    for _ in callers:
        await asyncio.to_thread(lambda: finish(book, claim_one(book)))
    async with asyncio.timeout(PATIENCE):
        answers = await asyncio.gather(*callers)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "succeeded")}


async def test_who_comes_while_the_connection_breaks_is_told(behind: Gateway, network: Proxy, book: Book) -> None:
    job_ids = [await behind.submit() for _ in range(40)]
    callers = []
    for number, job_id in enumerate(job_ids, 1):
        network.cut()
        callers.append(waiting(behind, job_id))
        await watched(behind, number)
    await ended(book, callers)


async def test_a_connection_that_says_nothing_is_given_up(
    behind: Gateway, network: Proxy, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "SILENCE", 0.3)
    callers = [waiting(behind, await behind.submit())]
    await watched(behind, 1)
    network.strand()
    await ended(book, callers)


async def test_a_watcher_of_a_job_that_is_erased_as_it_ends_is_let_go(
    async_book: AsyncBook, book: Book, valkey: str
) -> None:
    job_id = put(book)
    lease = claim_one(book)
    async with subscriptions.Subscriptions(async_client(valkey), async_book) as shared, asyncio.timeout(PATIENCE):
        watcher = EventStream(job_id, after=0, book=async_book, subscriptions=shared).items()
        begun = [await anext(watcher) for _ in range(3)]
        finish(book, lease)  # of both the gateway's loop hears afterwards
        assert book.run(commands.erase(job_id))
        rest = [item async for item in watcher]
    assert [getattr(event, "seq", None) for event in (*begun, *rest)] == [1, 2, 3, 4]
