import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tandem.shared.config.settings import Settings
from tandem.shared.storage.artifacts import AWAY, Artifacts
from tandem.shared.store.executor import Book
from tests.support.gateway import Gateway, is_problem
from tests.support.jobs import claim_one, finish
from tests.support.servers.files import out_of_reach

CONTENT = bytes(range(256)) * 2000  # more than one chunk


@pytest.fixture
async def url(gateway: Gateway, worker: Book, files: Artifacts) -> str:
    job_id = await gateway.submit("report", {"markdown": "x"})
    name = 'Übersicht "1".pdf'
    file = files.put(owner="ann", job=job_id, run=1, name=name, media_type="application/pdf", content=CONTENT)
    finish(worker, claim_one(worker, "sync"), '{"file": {"url": "", "pages": 1}}', file)
    job = (await gateway.ann.get(f"/v1/jobs/{job_id}")).json()
    assert job["links"]["file"] == f"/v1/jobs/{job_id}/file" == job["result"]["file"]["url"]
    return str(job["links"]["file"])


async def test_the_whole_file(gateway: Gateway, url: str) -> None:
    answer = await gateway.ann.get(url)
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"_bersicht _1_.pdf\"; filename*=UTF-8''%C3%9Cbersicht%20%221%22.pdf"
    )


@pytest.mark.parametrize(
    ("range_", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=511990-", 511990, 512000),
        ("bytes=-10", 511990, 512000),
        ("bytes=-9999999", 0, 512000),
        ("bytes=100-9999999", 100, 512000),
        ("bytes=0-400000", 0, 400001),
    ],
)
async def test_a_range(gateway: Gateway, url: str, range_: str, start: int, end: int) -> None:
    answer = await gateway.ann.get(url, headers={"Range": range_})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("range_", ["bytes=512000-", "bytes=600000-700000", "bytes=-0"])
async def test_a_range_outside_is_416(gateway: Gateway, url: str, range_: str) -> None:
    answer = await gateway.ann.get(url, headers={"Range": range_})
    is_problem(answer, 416)
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "range_",
    [
        "lines=1-2",
        "bytes=a-b",
        "bytes=0-1,5-6",
        "bytes=-",
        "bytes=9-5",
        "bytes=0-" + "9" * 5000,
        "bytes=" + "9" * 5000 + "-",
    ],
)
async def test_a_range_that_is_not_understood_is_ignored(gateway: Gateway, url: str, range_: str) -> None:
    assert (await gateway.ann.get(url, headers={"Range": range_})).status_code == 200


async def test_validators(gateway: Gateway, url: str) -> None:
    etag = (await gateway.ann.get(url)).headers["etag"]
    unchanged = await gateway.ann.get(url, headers={"If-None-Match": f'"other", {etag}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    resumed = await gateway.ann.get(url, headers={"Range": "bytes=0-3", "If-Range": etag})
    assert resumed.status_code == 206
    changed = await gateway.ann.get(url, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert changed.status_code == 200


async def test_no_file_and_a_cleaned_up_file_are_404(gateway: Gateway, url: str, files: Artifacts) -> None:
    job_id = await gateway.submit()
    is_problem(await gateway.ann.get(f"/v1/jobs/{job_id}/file"), 404)
    [entry] = list(files.list())
    files.delete(entry.key)
    problem = is_problem(await gateway.ann.get(url), 404)
    assert "cleaned up" in problem["detail"]


async def test_a_store_that_does_not_answer_is_503(gateway: Gateway, url: str, settings: Settings) -> None:
    with out_of_reach(Path(urlsplit(settings.files).path) / "ann"):
        problem = is_problem(answer := await gateway.ann.get(url), 503)
    assert (problem["detail"], answer.headers["retry-after"]) == (AWAY, "1")
    assert (await gateway.ann.get(url)).content == CONTENT
