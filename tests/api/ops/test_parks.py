"""Parks as an operator sees them, and how one is lifted."""

from typing import Any
from urllib.parse import quote

from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.limits import operations
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import TTL
from tests.support.processes import until

SECOND_US = 1_000_000
ODD = "über/p:models/a b?c#d%20"


def park(book: Book, name: str, seconds: int) -> None:
    book.run(operations.operate([{"op": "park", "scope": name, "label": "p|m", "delay": seconds * SECOND_US}]))


async def listed(gateway: Gateway) -> list[dict[str, Any]]:
    answer = await gateway.admin.get("/v1/parks")
    assert (answer.status_code, set(answer.json())) == (200, {"parks"})
    parks: list[dict[str, Any]] = answer.json()["parks"]
    return parks


async def test_what_is_parked_is_listed_until_it_is_lifted(gateway: Gateway, worker: Book) -> None:
    assert await listed(gateway) == []
    park(worker, "p:slow", 60)
    park(worker, ODD, 30)
    worker.run(operations.operate([{"op": "failed", "scope": "p:gone", "job": "x", "refused": True}]))
    parks = {entry["name"]: entry for entry in await listed(gateway)}
    assert set(parks) == {"p:slow", ODD, "p:gone"}
    assert [parks[name]["kind"] for name in ("p:slow", ODD, "p:gone")] == ["busy", "busy", "down"]
    assert 50 < parks["p:slow"]["left_seconds"] <= 60
    for name in (ODD, "p:slow"):
        answer = await gateway.admin.delete(f"/v1/parks/{quote(name, safe='')}")
        assert (answer.status_code, answer.content) == (204, b"")
        is_problem(await gateway.admin.delete(f"/v1/parks/{quote(name, safe='')}"), 404)
    assert [entry["name"] for entry in await listed(gateway)] == ["p:gone"]


async def test_a_job_of_a_lifted_model_starts(gateway: Gateway, worker: Book) -> None:
    models = {"known": {}, "provider": "p", "levels": []}

    def claimed() -> list[leases.Lease]:
        return worker.run(leases.claim_llm(worker="w", limit=1, ttl=TTL, models=models)).leases

    park(worker, f"p:{gateway.settings.model}", 60)
    job_id = await gateway.submit()
    assert claimed() == []
    await gateway.admin.delete(f"/v1/parks/p:{gateway.settings.model}")
    until(lambda: [lease.id for lease in claimed()] == [job_id], what="the job's start", patience=2)


async def test_parks_are_an_admins_business(gateway: Gateway, worker: Book) -> None:
    park(worker, "p:m", 60)
    is_problem(await gateway.ann.get("/v1/parks"), 403)
    is_problem(await gateway.nobody.get("/v1/parks"), 401)
    is_problem(await gateway.ann.delete("/v1/parks/p:m"), 403)
    is_problem(await gateway.admin.delete("/v1/parks/p:other"), 404)
    is_problem(await gateway.admin.get("/v1/parks?x=1"), 422)
    assert [entry["name"] for entry in await listed(gateway)] == ["p:m"]
    assert (await gateway.ann.post("/v1/chat", json=CHAT)).status_code == 202
