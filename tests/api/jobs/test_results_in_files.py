"""Large results are files: on a job's own pages all the same, and in nothing else."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tandem.api.jobs.outgoing import LargeAnswer
from tandem.api.jobs.view import CHUNK
from tandem.shared.config.settings import Settings
from tandem.shared.jobs.model import Artefact
from tandem.shared.storage.artifacts import AWAY, LARGE, Artifacts, stream
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tests.support.event_source import parse
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.jobs import claim_one, finish, get
from tests.support.servers.files import out_of_reach

RESULT = json.dumps({"text": "ü" * (2 * LARGE)}, ensure_ascii=False)


def keep(files: Artifacts, lease: Lease, result: str = RESULT) -> Artefact:
    kept = files.put_result(owner=lease.owner, job=lease.id, run=lease.token, result=result)
    assert isinstance(kept, Artefact)
    return kept


@pytest.fixture
async def job_id(gateway: Gateway, worker: Book, files: Artifacts) -> str:
    """A job that has ended with a large result."""
    job_id = await gateway.submit()
    lease = claim_one(worker)
    finish(worker, lease, keep(files, lease))
    return job_id


def test_a_result_is_a_file_if_it_is_large(files: Artifacts) -> None:
    at_limit, over = '"' + "x" * (LARGE - 2) + '"', '"' + "x" * (LARGE - 1) + '"'
    place: dict[str, Any] = {"owner": "ann", "job": "01J", "run": "1-a"}
    assert files.put_result(**place, result=at_limit) == at_limit
    kept = files.put_result(**place, result=over)
    assert isinstance(kept, Artefact)
    assert (files.get(kept.key), kept.bytes) == (over.encode(), LARGE + 1)


async def test_a_jobs_pages_have_it_and_the_job_book_does_not(gateway: Gateway, worker: Book, job_id: str) -> None:
    assert sum(worker.run_all(commands.sizes(job_id))) < 4000
    assert get(worker, job_id).result_omitted
    for client in (gateway.ann, gateway.admin):
        for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}?include=input", f"/v1/chat/{job_id}?wait=5"):
            answer = await client.get(path)
            job = answer.json()
            assert (answer.status_code, job["result"], job["result_omitted"]) == (200, json.loads(RESULT), False)
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert ("input" in job, "owner" in job) == ("include" in path, client is gateway.admin)


async def test_what_is_told_of_it_elsewhere_leaves_it_out(gateway: Gateway, job_id: str) -> None:
    [listed] = (await gateway.ann.get("/v1/jobs")).json()["jobs"]
    *_, end = parse((await gateway.ann.get(f"/v1/jobs/{job_id}/events")).text)
    assert end.kind == "end"
    for job in (listed, end.data):
        assert (job["id"], job["result"], job["result_omitted"], job["links"]["file"]) == (job_id, None, True, None)


async def test_it_goes_out_as_it_is_read(gateway: Gateway, worker: Book, job_id: str) -> None:
    answer = gateway.app.state.outgoing.answer(get(worker, job_id), caller=gateway.app.state.keys[0])
    assert isinstance(answer, LargeAnswer)
    sent: list[int] = []

    async def send(message: Any) -> None:
        sent.append(len(message.get("body", b"")))

    async def receive() -> Any:
        raise AssertionError("nobody listens")

    await answer({"type": "http", "path": "/", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert max(sent) < 2 * CHUNK < len(RESULT.encode()) < sum(sent)


async def test_a_file_that_gets_shorter_meanwhile_ends_what_reads_it(tmp_path: Path) -> None:
    files = Artifacts(tmp_path.as_uri())
    kept = files.put_result(owner="ann", job="01J", run="1-a", result=RESULT)
    assert isinstance(kept, Artefact)
    pieces = await stream(files.store, kept, chunk=CHUNK)
    assert len(await anext(pieces)) == CHUNK
    os.truncate(tmp_path / kept.key, CHUNK + 1)
    with pytest.raises(FileNotFoundError):
        await anext(pieces)
    with pytest.raises(FileNotFoundError):
        await stream(files.store, kept, chunk=CHUNK)


async def test_the_link_of_a_jobs_file_is_put_into_it(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    job_id = await gateway.submit("report", {"markdown": "x"})
    lease = claim_one(worker, "sync")
    place: dict[str, Any] = {"owner": lease.owner, "job": lease.id, "run": lease.token, "media_type": "text/plain"}
    file = files.put(**place, name="a.txt", content=b"a")
    result = {"file": {"url": "", "bytes": 1}, "text": "x" * LARGE}
    finish(worker, lease, keep(files, lease, json.dumps(result)), file)
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert job["result"] == {**result, "file": {"url": f"/v1/jobs/{job_id}/file", "bytes": 1}}
    assert (await gateway.ann.get(f"/v1/jobs/{job_id}/file")).content == b"a"


async def test_a_job_is_erased_with_it(gateway: Gateway, files: Artifacts, job_id: str) -> None:
    assert [entry.key.split("/")[1] for entry in files.list()] == [job_id]
    assert (await gateway.ann.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert list(files.list()) == []


async def test_the_page_of_a_job_whose_result_is_gone_says_so(gateway: Gateway, worker: Book, files: Artifacts) -> None:
    """As where gateway and worker don't share a store of files."""
    key = {"Idempotency-Key": "k"}
    job_id = (await gateway.ann.post("/v1/chat", json=CHAT, headers=key)).json()["id"]
    lease = claim_one(worker)
    finish(worker, lease, kept := keep(files, lease))
    files.delete(kept.key)
    for answer in (
        await gateway.ann.get(f"/v1/jobs/{job_id}"),
        await gateway.ann.get(f"/v1/chat/{job_id}"),
        await gateway.ann.post("/v1/chat", json=CHAT, headers=key),
    ):
        job = answer.json()
        assert (answer.status_code, job["id"], job["status"]) == (200, job_id, "succeeded")
        assert job["finished_at"]
        assert (job["result"], job["result_lost"], job["result_omitted"]) == (None, True, False)


async def test_so_does_that_of_one_whose_result_has_to_be_read_whole(
    gateway: Gateway, worker: Book, files: Artifacts
) -> None:
    """As the link of its file has to be put into it; that file is there."""
    job_id = await gateway.submit("report", {"markdown": "x"})
    lease = claim_one(worker, "sync")
    place: dict[str, Any] = {"owner": lease.owner, "job": lease.id, "run": lease.token, "media_type": "text/plain"}
    file = files.put(**place, name="a.txt", content=b"a")
    finish(worker, lease, kept := keep(files, lease), file)
    files.delete(kept.key)
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert (job["status"], job["result"], job["result_lost"]) == ("succeeded", None, True)
    assert job["links"]["file"] == f"/v1/jobs/{job_id}/file"


async def test_while_the_store_does_not_answer_the_page_is_503(
    gateway: Gateway, settings: Settings, job_id: str
) -> None:
    with out_of_reach(Path(urlsplit(settings.files).path) / "ann"):
        problem = is_problem(answer := await gateway.ann.get(f"/v1/jobs/{job_id}"), 503)
    assert (problem["detail"], answer.headers["retry-after"]) == (AWAY, "1")
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert job["result"] == json.loads(RESULT)
    assert "result_lost" not in job
