"""What a huge or odd result costs whoever lists, reads or watches jobs."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tandem.api.jobs import view
from tandem.api.jobs.routes import INLINE
from tandem.shared.jobs.view import PUSHED
from tandem.shared.store.executor import Book
from tests.support.gateway import Gateway
from tests.support.jobs import claim_one, finish, get

HUGE = json.dumps({"embeddings": [[0.123456789] * 3072] * 100, "dimensions": 3072})


def text_of(size: int) -> str:
    """A result of exactly so many bytes."""
    return json.dumps({"text": "x" * (size - len('{"text": ""}'))})


async def done(gateway: Gateway, worker: Book, result: str) -> str:
    job_id = await gateway.submit()
    finish(worker, claim_one(worker), result)
    return job_id


async def listed(gateway: Gateway) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = (await gateway.ann.get("/v1/jobs")).json()["jobs"]
    return jobs


async def test_a_listing_carries_short_results_and_says_which_it_leaves_out(gateway: Gateway, worker: Book) -> None:
    at_limit, over = text_of(INLINE), text_of(INLINE + 1)
    ids = [await done(gateway, worker, result) for result in (at_limit, over)]
    waiting = await gateway.submit()
    shown = {job["id"]: (job["result"], job["result_omitted"]) for job in await listed(gateway)}
    assert shown == {ids[0]: (json.loads(at_limit), False), ids[1]: (None, True), waiting: (None, False)}
    job = (await gateway.ann.get(f"/v1/jobs/{ids[1]}")).json()
    assert (job["result"], job["result_omitted"]) == (json.loads(over), False)


async def test_a_listing_of_huge_results_is_small(gateway: Gateway, worker: Book) -> None:
    for _ in range(4):
        await done(gateway, worker, HUGE)
    answer = await gateway.ann.get("/v1/jobs?limit=4")
    assert [job["result_omitted"] for job in answer.json()["jobs"]] == [True] * 4
    assert len(answer.content) < 10_000


async def test_a_huge_result_is_passed_on_in_pieces_as_it_was_stored(gateway: Gateway, worker: Book) -> None:
    job_id = await done(gateway, worker, HUGE)
    answer = await gateway.ann.get(f"/v1/chat/{job_id}")
    content = answer.content
    assert HUGE.encode() in content
    assert int(answer.headers["content-length"]) == len(content)
    assert json.loads(content)["result"] == json.loads(HUGE)
    chunks = [len(chunk) async for chunk in view.in_chunks(view.write(get(worker, job_id)))]
    assert max(chunks) <= view.CHUNK < sum(chunks)


async def test_the_end_of_a_watch_leaves_out_what_is_larger_than_is_pushed(gateway: Gateway, worker: Book) -> None:
    small, large = text_of(PUSHED), text_of(PUSHED + 1)
    ends = [await _end(gateway, await done(gateway, worker, result)) for result in (small, large)]
    assert [(end["result"], end["result_omitted"]) for end in ends] == [(json.loads(small), False), (None, True)]


@pytest.mark.parametrize("result", ['{"text": "half \\ud83d"}', "[" * 900 + "]" * 900, '"\\u0000"'])
async def test_what_was_stored_can_be_shown(gateway: Gateway, worker: Book, result: str) -> None:
    """Of an older worker, say: the one of today refuses it."""
    job_id = await done(gateway, worker, result)
    for path in (f"/v1/jobs/{job_id}", f"/v1/chat/{job_id}"):
        answer = await gateway.ann.get(path)
        assert (answer.status_code, answer.json()["result"]) == (200, json.loads(result))
    assert [job["result"] for job in await listed(gateway)] == [json.loads(result)]
    assert (await _end(gateway, job_id))["result"] == json.loads(result)


DELIVERY = {"id": "d", "event": "job.failed", "url": "https://a.example", "status": "failed", "attempt": 1, "at": ""}


@pytest.mark.parametrize("field", ["progress", "error", "deliveries"])
async def test_half_a_character_in_another_field_breaks_no_page(gateway: Gateway, worker: Book, field: str) -> None:
    job_id = await gateway.submit()
    values = {
        "progress": {"done": 1, "message": "\ud83d!"},
        "error": {"type": "t", "message": "\ud83d!", "retryable": False},
        "deliveries": {"d": {**DELIVERY, "error": "\ud83d!"}},
    }
    worker.client.hset(f"tandem:job:{job_id}", field, json.dumps(values[field]))
    answer = await gateway.ann.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200
    assert "?!" in json.dumps(answer.json()[field])
    assert [job["id"] for job in await listed(gateway)] == [job_id]


async def _end(gateway: Gateway, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        answer: httpx.Response = await gateway.ann.get(f"/v1/jobs/{job_id}/events")
    event, data = answer.text.rstrip("\n").split("\n\n")[-1].split("\n")[1:]
    assert event == "event: end"
    end: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return end
