"""What is asked in a way that nobody can mean is refused at the door, with its name."""

import gzip
import json

import pytest

from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store.executor import Book
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import claim_one, finish

NO_JOB = "/v1/jobs/01K5XJ0Q7Z8S6V6N8E3C4D2A1B"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs"),
        ("GET", NO_JOB),
        ("GET", "/v1/chat/01K5XJ0Q7Z8S6V6N8E3C4D2A1B"),
        ("GET", f"{NO_JOB}/events"),
        ("GET", f"{NO_JOB}/file"),
        ("POST", f"{NO_JOB}/cancel"),
        ("POST", f"{NO_JOB}/retry"),
        ("POST", f"{NO_JOB}/token"),
        ("DELETE", NO_JOB),
        ("POST", "/v1/jobs/retry"),
        ("GET", "/v1/tasks"),
        ("GET", "/v1/queues"),
        ("POST", "/v1/queues/llm/pause"),
        ("POST", "/v1/chat"),
    ],
)
async def test_an_unknown_parameter_is_422_but_not_for_strangers(gateway: Gateway, method: str, path: str) -> None:
    body = CHAT if path == "/v1/chat" else None
    answer = await gateway.admin.request(method, f"{path}?statsu=failed", json=body)
    assert is_problem(answer, 422)["errors"][0]["field"] == "query.statsu"
    is_problem(await gateway.nobody.request(method, f"{path}?statsu=failed", json=body), 401)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/jobs?status=failed&status=queued", "status"),
        ("GET", f"{NO_JOB}?wait=1&wait=2", "wait"),
        ("POST", "/v1/jobs/retry?task=chat&task=score", "task"),
        ("POST", "/v1/chat?priority=high&priority=low", "priority"),
    ],
)
async def test_a_parameter_given_twice_is_422(gateway: Gateway, method: str, path: str, name: str) -> None:
    answer = await gateway.admin.request(method, path, json=CHAT if method == "POST" else None)
    assert is_problem(answer, 422)["errors"][0]["field"] == f"query.{name}"


async def test_two_idempotency_keys_are_422(gateway: Gateway) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem = is_problem(await gateway.ann.post("/v1/chat", json=CHAT, headers=headers), 422)
    assert problem["errors"][0]["field"] == "header.Idempotency-Key"


async def test_a_wrong_wait_is_422_before_a_job_is_404(gateway: Gateway) -> None:
    for path in (NO_JOB, "/v1/chat/01K5XJ0Q7Z8S6V6N8E3C4D2A1B"):
        is_problem(await gateway.ann.get(f"{path}?wait=abc"), 422)
        is_problem(await gateway.ann.get(path), 404)


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "x"])
async def test_a_compressed_body_is_415(gateway: Gateway, encoding: str) -> None:
    body = gzip.compress(json.dumps(CHAT).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = await gateway.ann.post("/v1/chat", content=body, headers=headers)
    is_problem(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"
    assert (await gateway.ann.get("/v1/jobs")).json()["jobs"] == []


async def test_head_is_get_without_content(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id = await gateway.submit("report", {"markdown": "# x"})
    file = files.put(owner="ann", job=job_id, run=1, name="a.pdf", media_type="application/pdf", content=b"pdf")
    finish(worker, claim_one(worker, "sync"), "{}", file)
    for path in ("/v1/jobs", f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/file", "/v1/tasks", "/healthz", "/openapi.json"):
        got, head = await gateway.ann.get(path), await gateway.ann.head(path)
        assert (head.status_code, head.content, head.headers["x-request-id"] != "") == (200, b"", True)
        assert head.headers["content-length"] == got.headers["content-length"]
    is_problem(await gateway.ann.get(NO_JOB), 404)
    assert (await gateway.ann.head(NO_JOB)).status_code == 404
    assert (await gateway.ann.head("/v1/chat")).status_code == 405
    assert (await gateway.nobody.head("/v1/jobs")).status_code == 401


async def test_head_of_events_does_not_wait_for_their_end(gateway: Gateway) -> None:
    answer = await gateway.ann.head(f"/v1/jobs/{await gateway.submit()}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_the_root_leads_to_the_docs(gateway: Gateway) -> None:
    answer = await gateway.nobody.get("/")
    assert answer.is_redirect
    page = await gateway.nobody.get(answer.headers["location"])
    assert (page.status_code, "swagger" in page.text.lower()) == (200, True)
