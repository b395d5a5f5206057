"""Tokens for one job's events and file: for browsers, which can send no key."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from tandem.api.auth import job_token
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store.executor import Book
from tests.support.gateway import Gateway, is_problem
from tests.support.jobs import claim_one, finish

ANN = ApiKey("ann", Role.USER, "ann-key-0123456789abc")
NOW = datetime(2026, 12, 24, 18, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)


async def made(gateway: Gateway, job_id: str) -> str:
    answer = await gateway.ann.post(f"/v1/jobs/{job_id}/token")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    return str(answer.json()["token"])


async def a_report(gateway: Gateway, worker: Book, files: Artifacts) -> str:
    job_id = await gateway.submit("report", {"markdown": "# x"})
    file = files.put(owner="ann", job=job_id, run=1, name="a.pdf", media_type="application/pdf", content=b"pdf")
    finish(worker, claim_one(worker, "sync"), "{}", file)
    return job_id


async def test_a_token_opens_its_jobs_events_and_file(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id = await a_report(gateway, worker, files)
    token = await made(gateway, job_id)
    assert "event: end" in (await gateway.nobody.get(f"/v1/jobs/{job_id}/events?token={token}")).text
    assert (await gateway.nobody.get(f"/v1/jobs/{job_id}/file?token={token}")).content == b"pdf"


async def test_a_token_opens_nothing_else(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id, other = await a_report(gateway, worker, files), await gateway.submit()
    token = await made(gateway, job_id)
    for path in ("/v1/jobs", f"/v1/jobs/{job_id}", f"/v1/report/{job_id}", "/v1/tasks", "/v1/queues", "/metrics"):
        is_problem(await gateway.nobody.get(f"{path}?token={token}"), 401)
    for action in ("cancel", "retry", "token"):
        is_problem(await gateway.nobody.post(f"/v1/jobs/{job_id}/{action}?token={token}"), 401)
    is_problem(await gateway.nobody.delete(f"/v1/jobs/{job_id}?token={token}"), 401)
    is_problem(await gateway.nobody.get(f"/v1/jobs/{other}/events?token={token}"), 401)
    is_problem(await gateway.nobody.get(f"/v1/jobs/{job_id}/events"), 401)
    is_problem(await gateway.bob.post(f"/v1/jobs/{job_id}/token"), 404)


@pytest.mark.parametrize("token", ["", ".", "ann", "ann.1.x", "ann.9999999999.é", "a" * 300, "%00", "ann.²²²²²²²²²².x"])
async def test_a_forged_token_is_refused_and_never_repeated(gateway: Gateway, token: str) -> None:
    job_id = await gateway.submit()
    answer = await gateway.nobody.get(f"/v1/jobs/{job_id}/events?token={token}")
    is_problem(answer, 422 if len(token) > 200 else 401)
    assert len(token) < 5 or token not in answer.text


async def test_no_log_line_has_a_token(
    gateway: Gateway, worker: Book, files: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job_id = await a_report(gateway, worker, files)
    token = await made(gateway, job_id)
    await gateway.nobody.get(f"/v1/jobs/{job_id}/events?token={token}")
    await gateway.nobody.get(f"/v1/jobs/{job_id}/file?token={token}x")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert ours
    assert [line for line in ours if token in line] == []


@pytest.mark.parametrize(
    ("job", "key", "now", "good"),
    [
        ("j", ANN, NOW, True),
        ("j", ANN, LATER, False),
        ("i", ANN, NOW, False),
        ("j", ApiKey("ann", Role.USER, "another-0123456789"), NOW, False),
        ("j", ApiKey("bob", Role.USER, ANN.secret), NOW, False),
    ],
)
def test_a_token_is_for_one_job_one_key_and_a_quarter_of_an_hour(
    job: str, key: ApiKey, now: datetime, *, good: bool
) -> None:
    token = job_token.make(ANN, "j", LATER)
    assert job_token.holder(token, job, (key,), now) == (key if good else None)


def test_whose_token_it_is_and_how_long_cannot_be_changed() -> None:
    name, seconds, signature = job_token.make(ANN, "j", LATER).split(".")
    forged = f"{name}.{int(seconds) + 1}.{signature}"
    assert job_token.holder(forged, "j", (ANN,), NOW) is None
    bob = ApiKey("bob", Role.USER, "bob-key-0123456789abc")
    assert job_token.holder(f"bob.{seconds}.{signature}", "j", (ANN, bob), NOW) is None
