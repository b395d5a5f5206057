"""A job whose long input or result somebody has spoilt in Redis: that text alone can't be shown, and no page breaks."""

import json
from typing import Any

from tandem.shared.jobs import texts
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tests.support.gateway import Gateway, is_problem
from tests.support.jobs import claim_one, finish

PROSE = "The parcel came a day early and well packed. " * 40
LONG = {"messages": [{"role": "user", "content": PROSE}]}


async def put(gateway: Gateway) -> str:
    job_id: str = (await gateway.ann.post("/v1/chat", json=LONG)).json()["id"]
    return job_id


async def test_a_spoilt_input_is_missed_by_who_asks_for_it(gateway: Gateway, worker: Book) -> None:
    client: Any = worker.client
    job_id = await put(gateway)
    client.set(Key.PAYLOAD + job_id, texts.MARK + b"{}")
    page = f"/v1/jobs/{job_id}"
    assert "can't be read" in is_problem(await gateway.ann.get(f"{page}?include=input"), 404)["detail"]
    assert is_problem(await gateway.bob.get(f"{page}?include=input"), 404)["detail"] == "no job with this id"
    assert (await gateway.ann.get(page)).json()["status"] == "queued"


async def test_a_spoilt_result_leaves_the_listing_as_it_is(gateway: Gateway, worker: Book) -> None:
    client: Any = worker.client
    job_id = await put(gateway)
    finish(worker, claim_one(worker), json.dumps({"text": PROSE}))
    client.set(Key.RESULT + job_id, texts.MARK + b"{}")
    assert "can't be read" in is_problem(await gateway.ann.get(f"/v1/jobs/{job_id}"), 404)["detail"]
    client.delete(Key.RESULT + job_id)
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert (job["status"], job["result"], job["result_omitted"], job["result_lost"]) == ("succeeded", None, False, True)
