from typing import Any

import pytest
import redis

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime import redis_client as runtime
from tandem.shared.store import commands, leases, listing
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.keys import Key
from tandem.shared.tasks.registry import load
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import TTL, claim, put, succeed


@pytest.mark.parametrize("spec", list(load()), ids=lambda spec: spec.name)
async def test_each_task_takes_its_example(gateway: Gateway, spec: Any, book: Book) -> None:
    answer = await gateway.admin.post(f"/v1/{spec.name}", json=spec.example)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["task"], job["queue"], job["status"]) == (spec.name, spec.queue, "queued")
    stored = book.run(commands.fetch(job["id"]))
    assert stored is not None
    payload = book.run(commands.read_input(job["id"]))
    assert payload
    assert spec.input.model_validate_json(payload) == spec.input.model_validate(spec.example)
    assert stored.request_id == answer.headers["x-request-id"]
    assert (await gateway.admin.get(f"/v1/{spec.name}/{job['id']}")).json() == job


@pytest.mark.parametrize(
    ("task", "body", "field"),
    [
        ("chat", {"messages": []}, "messages"),
        ("chat", {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ("chat", {**CHAT, "temperatur": 1}, "temperatur"),
        ("chat", [], "body"),
        ("score", {}, "text"),
        ("score", {"text": "a", "min": 5, "max": 5}, "body"),
        ("embed", {"texts": ["a"] * 2049}, "texts"),
        ("embed", {"texts": []}, "texts"),
        ("extract", {"text": "a", "schema": {"type": "nope"}}, "schema"),
        ("extract", {"text": "a", "schema": {"$ref": "http://127.0.0.1:1/x"}}, "schema"),
        ("email", {"to": ["not an address"], "subject": "s", "text": "t"}, "to.0"),
        ("email", {"to": ["a@example.com"], "subject": "s\r\nBcc: x@example.com", "text": "t"}, "subject"),
        ("email", {"to": ["a@example.com"], "subject": "s"}, "body"),
        ("report", {}, "body"),
        ("report", {"html": "<p>", "markdown": "x"}, "body"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_stored(
    gateway: Gateway, task: str, body: Any, field: str, book: Book
) -> None:
    problem = is_problem(await gateway.ann.post(f"/v1/{task}", json=body), 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert book.client.dbsize() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
        b'{"text": "a", "min": -1e999}',
        b"[" * 100_000,
        b'{"text": "a", "schema": ' + b'{"not":' * 5_000 + b"{}" + b"}" * 5_000 + b"}",
    ],
    ids=["empty", "half", "not UTF-8", "NaN", "lone surrogate", "infinity", "deep list", "deep object"],
)
async def test_malformed_json_is_422_and_nothing_stored(gateway: Gateway, body: bytes, book: Book) -> None:
    headers = {"Content-Type": "application/json"}
    for task in ("score", "extract"):
        is_problem(await gateway.ann.post(f"/v1/{task}", content=body, headers=headers), 422)
    assert book.client.dbsize() == 0


async def test_an_unknown_query_option_is_refused(gateway: Gateway, book: Book) -> None:
    problem = is_problem(await gateway.ann.post("/v1/chat?prioritty=high", json=CHAT), 422)
    assert problem["errors"][0]["field"] == "query.prioritty"
    assert book.client.dbsize() == 0


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_huge_body_is_413_whether_it_says_its_length_or_not(
    gateway: Gateway, book: Book, *, chunked: bool
) -> None:
    async def pieces() -> Any:
        for _ in range(2000):
            yield b" " * 1024

    content = pieces() if chunked else b" " * (1024 * 1024 + 1)
    headers = {"Content-Type": "application/json"}
    is_problem(await gateway.ann.post("/v1/chat", content=content, headers=headers), 413)
    assert book.client.dbsize() == 0


async def test_without_a_known_key_401(gateway: Gateway) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
    ):
        answer = await gateway.nobody.post("/v1/chat", json=CHAT, headers=headers)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    is_problem(await gateway.nobody.post("/v1/chat", content=b"{"), 401)  # the key comes before the body
    for path in ("/v1/jobs", "/v1/jobs/x", "/v1/tasks", "/v1/jobs/x/file"):
        is_problem(await gateway.nobody.get(path), 401)


@pytest.mark.parametrize("task", ["cleanup", "migrate"])
async def test_a_user_may_not_start_maintenance(gateway: Gateway, task: str, book: Book) -> None:
    is_problem(await gateway.ann.post(f"/v1/{task}", json=load()[task].example), 403)
    assert book.client.dbsize() == 0


async def test_unknown_paths_and_methods(gateway: Gateway) -> None:
    is_problem(await gateway.ann.get("/nope"), 404)
    is_problem(await gateway.ann.post("/v1/nope", json={}), 404)
    answer = await gateway.ann.delete("/v1/chat")
    is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_a_full_queue_is_503_with_a_hint(gateway: Gateway) -> None:
    for _ in range(gateway.settings.queue_max):
        await gateway.submit()
    answer = await gateway.ann.post("/v1/chat", json=CHAT)
    problem = is_problem(answer, 503)
    assert "full" in problem["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert (await gateway.ann.post("/v1/report", json={"markdown": "x"})).status_code == 202, "the pools are apart"


async def test_redis_out_of_memory_is_503(gateway: Gateway, book: Book) -> None:
    await gateway.submit()
    used = book.client.info("memory")
    assert isinstance(used, dict)
    book.client.config_set("maxmemory", used["used_memory"] // 2)
    try:
        is_problem(await gateway.ann.post("/v1/chat", json=CHAT), 503)
    finally:
        book.client.config_set("maxmemory", 0)
    assert len((await gateway.ann.get("/v1/jobs")).json()["jobs"]) == 1
    await gateway.submit()


async def test_a_request_id_is_kept_if_harmless(gateway: Gateway) -> None:
    answer = await gateway.ann.get("/healthz", headers={"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        answer = await gateway.ann.get("/healthz", headers={"X-Request-ID": bad})
        assert answer.headers["x-request-id"] not in {bad, ""}


async def test_what_nobody_foresaw_is_a_problem_too(gateway: Gateway, book: Book) -> None:
    book.client.set("tandem:jobs:ann", "no index, but something that somebody else wrote")
    problem = is_problem(await gateway.ann.get("/v1/jobs"), 500)
    assert "WRONGTYPE" not in str(problem)


async def test_infinity_in_free_data_is_refused(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"template": "table", "data": {"rows": [[1e999]]}}'
    is_problem(await gateway.ann.post("/v1/report", content=body, headers=headers), 422)
    body = b'{"template": "table", "data": {"rows": [["1e999"], [1e300]]}}'
    assert (await gateway.ann.post("/v1/report", content=body, headers=headers)).status_code == 202


async def test_a_slash_too_much_is_404(gateway: Gateway) -> None:
    is_problem(await gateway.ann.get("/v1/jobs/"), 404)


async def test_health(gateway: Gateway) -> None:
    assert (await gateway.nobody.head("/healthz")).status_code == 200
    assert (await gateway.nobody.get("/healthz")).json() == {"status": "ok"}
    assert (await gateway.nobody.get("/readyz")).json() == {"status": "ok"}


def test_a_server_that_forgot_the_scripts_is_given_them_again(book: Book) -> None:
    book.run(listing.page(listing.Filter(), limit=1))
    book.client.function_flush("SYNC")
    assert book.run(listing.page(listing.Filter(), limit=1)).ids == []
    book.client.function_flush("SYNC")
    assert [page.ids for page in book.run_all([listing.page(listing.Filter(), limit=1)] * 2)] == [[], []]
    assert isinstance(book.client, redis.Redis)


async def test_a_full_server_that_forgot_the_scripts_still_ends_work(book: Book, async_book: AsyncBook) -> None:
    """As after an upgrade: it takes no scripts of the new version, and no new jobs."""
    client: Any = book.client
    put(book)
    put(book)
    [lease, other] = claim(book)
    client.function_flush("SYNC")
    client.config_set("maxmemory", 1)
    try:
        assert succeed(book, lease)
        assert await async_book.run(commands.cancel(other.id, ttl=TTL)) == "running"
        renewals = [leases.renew("llm", [held], worker="w") for held in (lease, other)]
        assert await async_book.run_all(renewals) == [[], [other.id]]
        with pytest.raises(StoreUnavailable):
            put(book)
        assert client.function_list() == []
    finally:
        client.config_set("maxmemory", 0)
    put(book)
    assert client.function_list() != []


async def test_who_may_not_bring_a_script_himself_waits_for_a_full_server(book: Book, valkey: str) -> None:
    client: Any = book.client
    put(book)
    [lease] = claim(book)
    client.function_flush("SYNC")
    client.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all", "-eval"]
    )
    client.config_set("maxmemory", 1)
    url = valkey.replace("unix://", "unix://narrow:pw@")
    try:
        with runtime.client(url) as narrow, pytest.raises(StoreUnavailable, match="maxmemory"):
            succeed(Book(narrow), lease)
        other = AsyncBook(runtime.async_client(url))
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await other.run(commands.cancel(lease.id, ttl=TTL))
        await other.aclose()
    finally:
        client.config_set("maxmemory", 0)
        client.acl_deluser("narrow")


async def test_a_large_input_is_compressed_aside_and_shown_as_it_came(gateway: Gateway, book: Book) -> None:
    """The event loop may not be blocked, which the gateway's tests watch."""
    body = {"messages": [{"role": "user", "content": "The parcel came a day early and well packed. " * 10_000}]}
    job_id = await gateway.submit(body=body)
    kept: Any = book.client.strlen(Key.PAYLOAD + job_id)
    assert kept < 10_000
    shown = (await gateway.ann.get(f"/v1/jobs/{job_id}?include=input")).json()
    assert shown["input"] == body
