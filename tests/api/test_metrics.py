"""Metrics as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from shared import store
from shared.attempt import Fail
from shared.book import Book
from shared.job import Usage
from tests.api.conftest import Gateway
from tests.shared.jobs import put
from tests.shared.test_book import FAILURE, TTL, claim, succeed


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
    book.run(store.give_up(two, Fail(FAILURE), usage=Usage(7, 0, 1), ttl=TTL))
    put(book, "email")
    found = await samples(gateway)
    assert found["tandem_jobs_total{queue=llm,status=succeeded,task=chat}"] == 1
    assert found["tandem_jobs_total{queue=llm,status=failed,task=chat}"] == 1
    assert found["tandem_llm_usage_total{kind=usage_input,task=chat}"] == 8
    assert found["tandem_queue_running{queue=llm}"] == 1
    assert found["tandem_queue_waiting{queue=sync}"] == 1
    assert found["tandem_queue_failed{queue=llm}"] == 1
    assert found["tandem_queue_wait_seconds_count{queue=llm,task=chat}"] == 3
    assert found["tandem_run_seconds_bucket{le=+Inf,queue=llm,task=chat}"] == 2


async def test_only_admins_read_them(gateway: Gateway) -> None:
    assert (await gateway.nobody.get("/metrics")).status_code == 401
    assert (await gateway.ann.get("/metrics")).status_code == 403
    gateway.app.state.metrics_public = True
    try:
        assert (await gateway.nobody.get("/metrics")).status_code == 200
    finally:
        gateway.app.state.metrics_public = False
