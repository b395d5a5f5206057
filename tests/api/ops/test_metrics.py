"""Metrics as Prometheus reads them."""

import asyncio
import random
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tandem.api.ops.metrics import COUNTERS
from tandem.api.server import traffic as traffic_module
from tandem.api.server.traffic import Traffic
from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import Key
from tandem.shared.store.limits.explanation import announce
from tandem.shared.store.queues import leave
from tests.support.gateway import CHAT, Gateway
from tests.support.jobs import FAILURE, TTL, claim, put, succeed
from tests.support.processes import ROOT
from tests.support.servers.valkey import Valkey


async def samples(gateway: Gateway) -> dict[str, float]:
    answer = await gateway.admin.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def test_what_happened_is_counted(gateway: Gateway, book: Book) -> None:
    for _ in range(3):
        put(book)
    one, two, _three = claim(book)
    succeed(book, one)
    book.run(leases.give_up(two, Fail(FAILURE), usage=Usage(7, 0, 1), ttl=TTL))
    put(book, "email")
    found = await samples(gateway)
    assert found["tandem_jobs_total{queue=llm,status=succeeded,task=chat}"] == 1
    assert found["tandem_jobs_total{queue=llm,status=failed,task=chat}"] == 1
    assert found["tandem_llm_usage_total{kind=input_tokens,task=chat}"] == 8
    assert found["tandem_queue_running{queue=llm}"] == 1
    assert found["tandem_queue_waiting{queue=sync}"] == 1
    assert found["tandem_queue_failed{queue=llm}"] == 1
    assert found["tandem_queue_wait_seconds_count{queue=llm,task=chat}"] == 3
    assert found["tandem_run_seconds_bucket{le=+Inf,queue=llm,task=chat}"] == 2


async def test_requests_are_counted_by_route_over_all_gateways(gateway: Gateway, async_book: AsyncBook) -> None:
    job_id = await gateway.submit()
    for path in (f"/v1/jobs/{job_id}", "/v1/jobs/none", "/no/such/path", "/nor/this?x=1"):
        await gateway.ann.get(path)
    await gateway.ann.request("BREW", "/v1/jobs/none")
    await gateway.nobody.post("/v1/chat", json=CHAT)
    other = Traffic()  # another gateway's; what it has counted is handed over when it ends
    async with other.handed_to(async_book):
        other.count({"method": "GET"}, 404)
    found = await samples(gateway)
    expected = {
        ("POST", "/v1/chat", 202): 1,
        ("POST", "/v1/chat", 401): 1,
        ("GET", "/v1/jobs/{job_id}", 200): 1,
        ("GET", "/v1/jobs/{job_id}", 404): 1,
        ("GET", "unknown", 404): 3,
        ("unknown", "/v1/jobs/{job_id}", 405): 1,
    }
    for (method, route, status), count in expected.items():
        assert found[f"tandem_http_requests_total{{method={method},route={route},status={status}}}"] == count


async def test_what_redis_did_not_take_is_counted_later(own_valkey: Valkey) -> None:
    traffic, book = Traffic(), AsyncBook(async_client(own_valkey.url))
    scope = {"type": "http", "method": "GET"}
    traffic.count(scope, 200)
    own_valkey.kill()
    with pytest.raises(StoreUnavailable):
        await traffic.flush(book)
    own_valkey.start()
    traffic.count(scope, 200)
    await traffic.flush(book)
    await traffic.flush(book)
    assert await book.run(COUNTERS) == {"http|GET|unknown|200": 2}
    await book.aclose()


@pytest.mark.slow
async def test_a_gateway_that_stops_loses_no_count(async_book: AsyncBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those either that are on their way to Redis at that moment."""
    monkeypatch.setattr(traffic_module, "EVERY", 0.01)
    for _ in range(20):
        await async_book.client.flushall()
        traffic = Traffic()
        async with traffic.handed_to(async_book):
            traffic.count({"method": "GET"}, 200)
            await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
            await async_book.client.client_pause(20, all=False)
            traffic.count({"method": "GET"}, 200)
            await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
        assert await async_book.run(COUNTERS) == {"http|GET|unknown|200": 2}


async def test_a_lost_lease_is_one_that_could_not_be_renewed(gateway: Gateway, book: Book) -> None:
    """A run that was cancelled or has just ended has lost nothing."""
    for _ in range(3):
        put(book)
    cancelled, done, lost = claim(book)
    book.run(commands.cancel(cancelled.id, ttl=TTL))
    succeed(book, done)
    book.client.hset(f"tandem:job:{lost.id}", "token", "of another worker")
    assert book.run(leases.renew("llm", [cancelled, done, lost], worker="w")) == [cancelled.id, lost.id]
    assert (await samples(gateway))["tandem_lease_losses_total{queue=llm}"] == 1


async def test_limits_are_those_of_live_workers(gateway: Gateway, book: Book) -> None:
    old = {"limit|gone|rpm": 60, "limit_held|gone|concurrency": 1, "limit_held|p|concurrency": 2}
    book.client.hset(Key.METRICS, mapping=old)  # "limit" is what an earlier version kept
    for worker, limits in (
        ("one", {"p": {"rpm": 5, "concurrency": 4}}),
        ("two", {"p": {"rpm": 7}, "a|b:m": {"tpm": 9}}),
    ):
        book.run(leases.renew("llm", [], worker=worker))
        book.run(announce(worker, models={}, limits=limits))
    found = {
        name: value for name, value in (await samples(gateway)).items() if re.match(r"tandem_limit(_held)?{", name)
    }
    assert found == {
        "tandem_limit{kind=concurrency,limit=p}": 4,
        "tandem_limit{kind=rpm,limit=p}": 7,
        "tandem_limit{kind=tpm,limit=a/b:m}": 9,
        "tandem_limit_held{kind=concurrency,limit=p}": 2,
    }
    for worker in ("one", "two"):
        book.run(leave(worker, "llm"))
    assert not [name for name in await samples(gateway) if name.startswith("tandem_limit{")]


async def test_the_page_lists_all_metrics(gateway: Gateway) -> None:
    answer = await gateway.admin.get("/metrics")
    page = (ROOT / "docs/metrics.md").read_text()
    documented = re.findall(r"^\| `(tandem_\w+)` \| (\w+) \|", page, re.MULTILINE)
    shown = re.findall(r"^# TYPE (tandem_\w+) (\w+)$", answer.text, re.MULTILINE)
    assert sorted(documented) == sorted(shown)
    named = re.findall(r"\btandem_[a-z_]+", (ROOT / "docs/operations.md").read_text())
    assert named
    assert set(named) <= {name for name, _ in documented}, "of the alerts"


async def test_only_admins_read_them(gateway: Gateway) -> None:
    assert (await gateway.nobody.get("/metrics")).status_code == 401
    assert (await gateway.ann.get("/metrics")).status_code == 403
    gateway.app.state.metrics_public = True
    try:
        assert (await gateway.nobody.get("/metrics")).status_code == 200
    finally:
        gateway.app.state.metrics_public = False
