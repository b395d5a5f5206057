"""What a submitter may ask for beside the task's input: options in the query and the idempotency key."""

import asyncio
import socket
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tandem.api.app import create_app
from tandem.shared.config.settings import Settings
from tandem.shared.store import commands, leases
from tandem.shared.store.batching import PLACES
from tandem.shared.store.executor import Book
from tandem.shared.store.scripts import SCRIPTS
from tests.support.gateway import CHAT, Gateway, is_problem, started
from tests.support.jobs import TTL, claim_one, finish, tick
from tests.support.processes import until
from tests.support.servers.proxy import proxied
from tests.support.servers.valkey import Valkey

REPORT = {"markdown": "x"}


async def ask(gateway: Gateway, query: dict[str, Any], task: str = "chat") -> dict[str, Any]:
    answer = await gateway.ann.post(f"/v1/{task}", params=query, json=CHAT if task == "chat" else REPORT)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert (await gateway.ann.get(f"/v1/jobs/{job['id']}")).json() == job
    return job


def ahead(job: dict[str, Any]) -> float:
    """Seconds from its submission to its start."""
    return (datetime.fromisoformat(job["run_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()


async def test_priority_and_stream(gateway: Gateway, book: Book) -> None:
    job = await ask(gateway, {"priority": "high", "stream": "true"})
    assert job["priority"] == "high"
    lease = await asyncio.to_thread(claim_one, book)
    assert (lease.id, lease.stream) == (job["id"], True)
    assert (await ask(gateway, {"priority": "low"}, "report"))["priority"] == "low"
    for task in ("chat", "report"):
        assert (await ask(gateway, {"priority": "idle"}, task))["priority"] == "idle"
    document = (await gateway.nobody.get("/openapi.json")).json()
    [parameter] = [one for one in document["paths"]["/v1/chat"]["post"]["parameters"] if one["name"] == "priority"]
    assert parameter["schema"]["enum"] == ["high", "normal", "low", "idle"]


@pytest.mark.parametrize("task", ["chat", "report"])
@pytest.mark.parametrize(("delay", "seconds"), [("90", 90), ("1.5", 1.5), ("15m", 900), ("PT1H", 3600)])
async def test_a_delay(gateway: Gateway, task: str, delay: str, seconds: float) -> None:
    job = await ask(gateway, {"delay": delay}, task)
    assert job["status"] == "scheduled"
    assert ahead(job) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("zone", ["Z", "", "+00:00", " 00:00"])
async def test_a_time_to_run_at_is_utc_unless_it_says_otherwise(gateway: Gateway, zone: str) -> None:
    moment = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    job = await ask(gateway, {"run_at": f"{moment:%Y-%m-%dT%H:%M:%S}{zone}"})
    assert job["status"] == "scheduled"
    assert datetime.fromisoformat(job["run_at"]) == moment


@pytest.mark.parametrize(
    "query",
    [{"run_at": "2001-01-01T00:00:00+02:00"}, {"run_at": "0001-01-01"}, {"delay": "0"}, {"delay": "PT0S"}],
)
async def test_the_past_is_now(gateway: Gateway, query: dict[str, str]) -> None:
    job = await ask(gateway, query)
    assert (job["status"], job["run_at"]) == ("queued", None)


async def test_a_job_that_can_not_start_in_time_expires(gateway: Gateway, book: Book) -> None:
    job = await ask(gateway, {"expires_in": "0.001"})
    assert until(lambda: tick(book)["expire_unstarted"]) == 1
    job = (await gateway.ann.get(f"/v1/jobs/{job['id']}")).json()
    assert (job["status"], job["error"]["type"], job["result"]) == ("expired", "not_begun_in_time", None)


WRONG = [
    ("chat", {"priority": "urgent"}, "priority"),
    ("chat", {"priority": ""}, "priority"),
    ("chat", {"delay": "-1"}, "delay"),
    ("chat", {"delay": "soon"}, "delay"),
    ("chat", {"delay": "nan"}, "delay"),
    ("chat", {"delay": "1e9"}, "delay"),
    ("chat", {"delay": "367d"}, "delay"),
    ("chat", {"delay": "9" * 400}, "delay"),
    ("chat", {"delay": "1", "run_at": "2001-01-01T00:00:00Z"}, "delay"),
    ("chat", {"run_at": "tomorrow"}, "run_at"),
    ("chat", {"run_at": "1999999999"}, "run_at"),
    ("chat", {"run_at": "2026-02-30T00:00:00Z"}, "run_at"),
    ("chat", {"run_at": ""}, "run_at"),
    ("chat", {"run_at": "9999-12-31T23:59:59-23:59"}, "run_at"),
    ("chat", {"run_at": f"{datetime.now(UTC).year + 3}-01-01"}, "run_at"),
    ("chat", {"expires_in": "0"}, "expires_in"),
    ("chat", {"expires_in": "-PT1S"}, "expires_in"),
    ("chat", {"expires_in": "1", "delay": "5"}, "expires_in"),
    ("chat", {"expires_in": "5", "delay": "5"}, "expires_in"),
    ("chat", {"expires_in": "2000 days"}, "expires_in"),
    ("chat", {"stream": "perhaps"}, "stream"),
    ("report", {"stream": "true"}, "stream"),
    ("chat", {"webhook_url": ""}, "webhook_url"),
    ("chat", {"webhook_url": "ftp://example.com/"}, "webhook_url"),
    ("chat", {"webhook_url": "example.com/hook"}, "webhook_url"),
    ("chat", {"webhook_url": "https://ann:secret@example.com/"}, "webhook_url"),
    ("chat", {"webhook_url": "http://127.0.0.1:9/hook"}, "webhook_url"),
    ("chat", {"webhook_url": "http://[::1]/hook"}, "webhook_url"),
    ("chat", {"webhook_url": "http://10.1.2.3/"}, "webhook_url"),
    ("chat", {"webhook_url": "http://169.254.169.254/latest/meta-data"}, "webhook_url"),
    ("chat", {"webhook_url": "http://localhost:8080/hook"}, "webhook_url"),
    ("chat", {"webhook_url": "http://0x7f.1/hook"}, "webhook_url"),
    ("chat", {"webhook_url": f"https://example.com/{'x' * 2000}"}, "webhook_url"),
    ("chat", {"run-at": "2001-01-01"}, "run-at"),
]


@pytest.mark.parametrize(("task", "query", "field"), WRONG, ids=[f"{field}={query}"[:40] for _, query, field in WRONG])
async def test_a_wrong_option_is_named_and_nothing_stored(
    gateway: Gateway, task: str, query: dict[str, str], field: str, book: Book
) -> None:
    answer = await gateway.ann.post(f"/v1/{task}", params=query, json=CHAT if task == "chat" else REPORT)
    problem = is_problem(answer, 422)
    assert [error["field"] for error in problem["errors"]] == [f"query.{field}"]
    assert "secret" not in answer.text
    assert book.client.dbsize() == 0


SAID = [
    ({"expires_in": "0"}, "expires_in", "must be at least 1 ms"),
    ({"delay": "367d"}, "delay", "must be at most 366 days"),
    ({"expires_in": "1", "delay": "5"}, "expires_in", "it could only expire: "),
    ({"prority": "high"}, "prority", "there are delay, expires_in, priority, run_at, stream, webhook_url"),
]


@pytest.mark.parametrize(("query", "field", "message"), SAID, ids=[field for _, field, _ in SAID])
async def test_a_refusal_says_what_is_allowed(
    gateway: Gateway, query: dict[str, str], field: str, message: str
) -> None:
    problem = is_problem(await gateway.ann.post("/v1/chat", params=query, json=CHAT), 422)
    [error] = problem["errors"]
    assert error["field"] == f"query.{field}"
    assert message in error["message"]


async def test_a_webhook_is_kept_for_the_jobs_end(gateway: Gateway, book: Book) -> None:
    job = await ask(gateway, {"webhook_url": "https://8.8.8.8/hook?a=b"})
    finish(book, await asyncio.to_thread(claim_one, book))
    answer = await gateway.ann.get(f"/v1/jobs/{job['id']}")
    [delivery] = answer.json()["deliveries"]
    assert (delivery["url"], delivery["status"]) == ("https://8.8.8.8/hook?a=b", "pending")
    assert list(delivery) == DELIVERY, "in one order, and nothing is left out"
    assert (delivery["id"], delivery["next_at"]) == (f"msg_{job['id']}-1", None)


DELIVERY = ["id", "event", "url", "status", "attempt", "at", "next_at", "response_status", "error"]


async def test_a_name_that_nobody_answers_for_holds_no_request_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-ups of the system's resolver can't be stopped; 20 of them take no longer than one."""
    gone = threading.Event()

    def silent(*_: Any, **__: Any) -> Any:
        gone.wait(30)
        raise socket.gaierror

    monkeypatch.setattr("tandem.api.submission.webhook_target.PATIENCE", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    async with asyncio.timeout(30):
        await asyncio.gather(*(ask(gateway, {"webhook_url": "https://silent.example/"}) for _ in range(20)))
    gone.set()


async def test_submissions_whose_look_up_lasts_hold_up_no_other(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than may prepare a call at a time."""
    begun, answered = threading.Semaphore(0), threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        begun.release()
        answered.wait(30)
        raise socket.gaierror

    monkeypatch.setattr("tandem.api.submission.webhook_target.PATIENCE", 30)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    slow_ones = [asyncio.create_task(ask(gateway, {"webhook_url": "https://slow.example/"})) for _ in range(2 * PLACES)]
    await asyncio.to_thread(begun.acquire)
    async with asyncio.timeout(20):
        await asyncio.gather(*(ask(gateway, {}) for _ in range(2 * PLACES)))
    assert not any(task.done() for task in slow_ones)
    answered.set()
    await asyncio.gather(*slow_ones)


# --- submitting once


async def test_a_repeat_is_answered_with_the_job_as_it_is_now(gateway: Gateway, book: Book) -> None:
    headers = {"Idempotency-Key": "order 17"}
    first = await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (202, False)
    finish(book, await asyncio.to_thread(claim_one, book), '{"text": "hi", "model": "m", "finish_reason": "stop"}')
    again = await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.headers["location"] == first.headers["location"]
    assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "succeeded")
    other = await gateway.bob.post("/v1/chat", json=CHAT, headers=headers)
    assert (other.status_code, other.json()["id"] == first.json()["id"]) == (202, False)


async def test_a_hundred_parallel_submits_of_one_key_are_one_job(gateway: Gateway, book: Book) -> None:
    headers = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(gateway.ann.post("/v1/chat", json=CHAT, headers=headers) for _ in range(100)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 99}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert book.client.zcard("arq:queue") == 1


async def test_a_key_with_another_body_is_refused(gateway: Gateway, book: Book) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)
    before = book.client.dbsize()
    for task, body in (("chat", {**CHAT, "temperature": 1}), ("report", REPORT)):
        problem = is_problem(await gateway.ann.post(f"/v1/{task}", json=body, headers=headers), 422)
        assert [error["field"] for error in problem["errors"]] == ["header.Idempotency-Key"]
    assert book.client.dbsize() == before
    assert len((await gateway.ann.get("/v1/jobs")).json()["jobs"]) == 1
    assert first.json()["id"] == (await gateway.ann.get("/v1/jobs")).json()["jobs"][0]["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "x" * 300, "tab\there", "ü"])
async def test_a_key_that_is_none_is_refused(gateway: Gateway, key: str, book: Book) -> None:
    answer = await gateway.ann.post("/v1/chat", json=CHAT, headers={b"Idempotency-Key": key.encode("latin-1")})
    problem = is_problem(answer, 422)
    assert [error["field"] for error in problem["errors"]] == ["header.Idempotency-Key"]
    assert book.client.dbsize() == 0


async def test_a_repeat_may_wait_for_the_job(gateway: Gateway, book: Book) -> None:
    headers = {"Idempotency-Key": "x" * 255, "Prefer": "wait=20"}
    waiting = [asyncio.create_task(gateway.ann.post("/v1/chat", json=CHAT, headers=headers)) for _ in range(3)]
    feeds = gateway.app.state.subscriptions._feeds
    await asyncio.to_thread(until, lambda: [len(watchers) for watchers in list(feeds.values())] == [3], what="waiting")
    finish(book, await asyncio.to_thread(claim_one, book))
    answers = await asyncio.gather(*waiting)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "succeeded")}
    assert sorted("idempotency-replayed" in answer.headers for answer in answers) == [False, True, True]
    assert {answer.headers["preference-applied"] for answer in answers} == {"wait=20"}


async def test_a_repeat_whose_job_is_gone_is_told_so(gateway: Gateway, book: Book) -> None:
    headers = {"Idempotency-Key": "k"}
    first = (await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)).json()["id"]
    book.run(commands.cancel(first, ttl=TTL))
    assert book.run(commands.erase(first))
    problem = is_problem(await gateway.ann.post("/v1/chat", json=CHAT, headers=headers), 410)
    assert "is gone" in problem["detail"]
    is_problem(await gateway.ann.post("/v1/chat", json={**CHAT, "temperature": 1}, headers=headers), 422)


async def test_a_repeat_whose_job_goes_away_meanwhile_is_told_so(
    settings: Settings, valkey_server: Valkey, book: Book, tmp_path: Path
) -> None:
    headers = {"Idempotency-Key": "k"}
    erased = []
    with proxied(tmp_path / "p", valkey_server.folder / "valkey.sock") as network:
        behind = settings.model_copy(update={"redis_url": SecretStr(network.url)})
        async with started(create_app(behind), behind) as gateway:
            first = (await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)).json()["id"]
            book.run(commands.cancel(first, ttl=TTL))

            def erase_just_before_it_is_read(said: bytes) -> None:
                if SCRIPTS["read"].function.encode() in said:
                    erased.append(book.run(commands.erase(first)))

            network.before = erase_just_before_it_is_read
            answer = await gateway.ann.post("/v1/chat", json=CHAT, headers=headers)
    is_problem(answer, 410)
    assert erased[0], "it was there until then"


async def test_no_job_waits_for_longer_than_the_platform_says(settings: Settings, book: Book) -> None:
    """Nor one that is run again."""
    bounded = settings.model_copy(update={"max_age": timedelta(hours=2)})

    def age(job_id: str) -> int:
        names = ["created_at", "ready_at", "give_up_at"]
        created, due, end = book.client.hmget(f"tandem:job:{job_id}", names)  # type: ignore[misc]
        return int(end) - int(due or created)

    async with started(create_app(bounded), bounded) as gateway:
        job_id = await gateway.submit()
        assert age(job_id) == 2 * 3600 * 1000
        for again in (f"/v1/jobs/{job_id}/retry", "/v1/jobs/retry?status=expired"):
            book.client.hset(f"tandem:job:{job_id}", "give_up_at", "1")
            assert book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL)).leases == []
            expired = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
            assert (expired["status"], expired["error"]["type"]) == ("expired", "too_old")
            assert (await gateway.admin.post(again)).status_code == 200
            assert age(job_id) == 2 * 3600 * 1000
