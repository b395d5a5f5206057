"""What the dashboard shows: the job book's truth, whatever else is in Redis, and none of it as code."""

import json
import pickle
import re
import socket
import zlib
from base64 import b64encode
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from tandem.shared.jobs.model import Status
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tests.support.dashboard.hostile import Unpickled, fill, native
from tests.support.dashboard.running import STATUSES, fail, fetched, put, status, succeed
from tests.support.processes import running, until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow

EVIL = "\"><img src=x onerror='alert(1)'></script><script>alert(1)</script>"
PAGES = ("/", "/0/view/jobs", "/0/view/workers", "/0/view/jobs/sync/failed/8/asc/1")

# --- jobs, queues and workers


def test_the_queue_with_its_counts(admin: httpx.Client, jobs: dict[str, str]) -> None:
    assert jobs
    [queue] = [queue for queue in fetched(admin, "/0/data/queues.json")["queues"] if queue["name"] == "sync"]
    shown = {name.removesuffix("_job_registry_count"): count for name, count in queue.items() if "count" in name}
    assert shown == {
        "count": 1,
        "failed": 1,
        "finished": 1,
        "scheduled": 1,
        "started": 1,
        "canceled": 0,
        "deferred": 0,
    }


@pytest.mark.parametrize("result", ['"no \\udcff.pdf"', "[" * 900 + "]" * 900, '{"a": NaN}'])
def test_results_that_nobody_can_show(admin: httpx.Client, book: Book, result: str) -> None:
    """A version before this one may have stored them, and plain RQ's own workers still do."""
    put(book)
    succeed(book)
    [ours] = book.client.scan_iter("tandem:job:*")
    book.client.hset(ours, "result", result)
    theirs = native(book, "fine", job_id="native-odd")
    entry: dict[Any, Any] = {"type": 1, "return_value": b64encode(result.encode()), "created_at": "0"}
    book.client.xadd(f"rq:results:{theirs.id}", entry)
    book.client.rpush("rq:queue:sync", theirs.id)
    for job_id in (ours.decode().rpartition(":")[2], theirs.id):
        for page in (f"/0/view/job/{job_id}", f"/0/data/job/{job_id}.json"):
            assert admin.get(page).status_code == 200, page
    for registry in ("queued", "finished"):
        assert admin.get(f"/0/data/jobs/sync/{registry}/8/asc/1.json").status_code == 200


@pytest.mark.parametrize("status", STATUSES)
def test_jobs_by_status(admin: httpx.Client, jobs: dict[str, str], status: str) -> None:
    [job] = fetched(admin, f"/0/data/jobs/sync/{status}/8/asc/1.json")["jobs"]
    task = "cleanup" if status == "queued" else "report"
    assert (job["id"], job["description"]) == (jobs[status], f"{task} {jobs[status]}")
    assert admin.get(f"/0/view/jobs/sync/{status}/8/asc/1").status_code == 200
    data = fetched(admin, f"/0/data/job/{jobs[status]}.json")
    assert (data["id"], data["status"], data["origin"]) == (jobs[status], status, "sync")
    assert jobs[status] in admin.get(f"/0/view/job/{jobs[status]}").text


def test_a_job_is_shown_as_the_job_book_has_it(admin: httpx.Client, book: Book) -> None:
    ids = [put(book), put(book)]
    fail(book, "the font is missing")
    succeed(book)
    failed, done = (fetched(admin, f"/0/data/job/{job_id}.json") for job_id in ids)
    for shown, job_id in ((failed, ids[0]), (done, ids[1])):
        record = book.run(commands.fetch(job_id))
        assert record
        times = [datetime.fromisoformat(shown[name]) for name in ("created_at", "started_at", "ended_at")]
        assert times == [record.created_at, record.started_at, record.finished_at]
        assert json.loads(shown["metadata"]) == {
            "task": "report",
            "owner": "ann",
            "priority": "normal",
            "attempt": f"1 of {record.max_attempts}",
        }
    assert failed["exc_info"].startswith("oops: the font is missing\n\nattempt 1 of ")
    assert (failed["result"], done["result"], done["exc_info"]) == (None, {"pages": 2}, None)


def test_pages_of_a_list(admin: httpx.Client, book: Book) -> None:
    ids = [put(book) for _ in range(10)]
    for _ in range(5):
        succeed(book)
    lists = {"finished": ids[:5], "queued": ids[5:]}
    for name, expected in lists.items():
        for order in ("asc", "dsc"):
            pages = [fetched(admin, f"/0/data/jobs/sync/{name}/2/{order}/{page}.json")["jobs"] for page in (1, 2, 3)]
            assert [len(page) for page in pages] == [2, 2, 1]
            shown = [job["id"] for page in pages for job in page]
            assert shown == (expected if order == "asc" else expected[::-1])


def test_a_worker_and_its_job(admin: httpx.Client, book: Book, valkey_server: Valkey, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a mail server that never greets
        env = {
            "REDIS_URL": valkey_server.url,
            "RUN_DIR": str(tmp_path),
            "SMTP_URL": f"smtp://127.0.0.1:{silent.getsockname()[1]}",
            "TANDEM_GRACE": "0",
            "TANDEM_LOG_FORMAT": "json",
        }
        with running("tandem.sync_worker", "--name", "w1", env=env, log=tmp_path / "log", says='"ready"') as process:

            def worker(state: str) -> dict[str, Any]:
                found = fetched(admin, "/0/data/workers.json")["workers"]
                return next((item for item in found if item["state"] == state), {})

            idle = until(lambda: worker("idle"), what="the idle worker")
            assert (idle["name"], idle["current_job"]) == ("w1", "idle")
            supervisor = psutil.Process(idle["pid"]).ppid()
            assert process.popen.pid in {idle["pid"], supervisor}  # the latter on Linux
            assert "sync" in idle["queues"]
            job_id = put(book, "email")
            busy = until(lambda: worker("busy"), what="the busy worker")
            assert busy["current_job"]["job_id"] == job_id
            assert busy["current_job"]["call_string"] == f"email('{job_id}')"
            [started] = fetched(admin, "/0/data/jobs/sync/started/8/asc/1.json")["jobs"]
            assert started["id"] == job_id
    assert fetched(admin, "/0/data/workers.json")["workers"] == [], "it took its leave"
    assert status(book, job_id) is Status.QUEUED, "and handed its job back"


def test_an_empty_job_book(admin: httpx.Client, book: Book) -> None:
    assert book.client.dbsize() == 0
    assert fetched(admin, "/0/data/queues.json") == {"queues": []}
    assert fetched(admin, "/0/data/workers.json") == {"workers": []}
    assert admin.get("/").status_code == 200


# --- what upstream answers with 500


@pytest.mark.parametrize("path", ["/0/view/job/{id}", "/0/data/job/{id}.json"])
@pytest.mark.parametrize("job_id", ["01NOBODY", "no-such-job", "nö", "a b"])
def test_an_unknown_job_is_404(admin: httpx.Client, book: Book, path: str, job_id: str) -> None:
    assert book
    answer = admin.get(path.format(id=job_id))
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_an_erased_job_is_404_and_in_no_list(admin: httpx.Client, book: Book, jobs: dict[str, str]) -> None:
    book.run(commands.erase(jobs["failed"]))
    assert admin.get(f"/0/data/job/{jobs['failed']}.json").status_code == 404
    assert fetched(admin, "/0/data/jobs/sync/failed/8/asc/1.json")["jobs"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/0/data/jobs/sync/failed/0/asc/1.json",
        "/0/data/jobs/sync/failed/8/asc/0.json",
        "/0/data/jobs/sync/failed/8/asc/x.json",
        "/0/data/jobs/sync/failed/8/asc/99999999999999999999.json",
        "/0/data/jobs/sync/failed/100000/asc/1.json",
        "/0/data/jobs/sync/failed/8/sideways/1.json",
        "/0/data/jobs/sync/no-such-list/8/asc/1.json",
        "/0/view/jobs/sync/no-such-list/8/asc/1",
    ],
)
def test_nonsense_is_404(admin: httpx.Client, jobs: dict[str, str], path: str) -> None:
    assert jobs
    assert admin.get(path).status_code == 404


def test_dependencies_of_a_job_of_plain_rq(admin: httpx.Client, book: Book) -> None:
    queue = Queue("sync", connection=book.client, serializer=JSONSerializer)
    first, gone = (queue.enqueue("module.function", job_id=job_id) for job_id in ("first", "gone"))
    queue.enqueue("module.function", job_id="second", depends_on=[first, gone])
    gone.delete()
    shown = fetched(admin, "/0/data/job/second.json")
    pairs = zip(shown["depends_on"], shown["depends_on_status"], strict=True)
    assert sorted(pairs) == [("first", "active"), ("gone", "expired")]
    assert [job["id"] for job in fetched(admin, "/0/data/jobs/sync/deferred/8/asc/1.json")["jobs"]] == ["second"]


BROKEN: dict[str, dict[str, Any]] = {
    "pickle": {"data": zlib.compress(pickle.dumps(("f", None, (), {}))), "meta": pickle.dumps({})},
    "time": {"data": b"[]", "created_at": "yesterday"},
    "status": {"data": b"[]", "status": "odd"},
    "bytes": {"data": b"\xff\xfe", "description": b"\xff\xfe", "meta": b"\xff"},
    "no-data": {"status": "failed"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_hash_spoils_no_list(admin: httpx.Client, book: Book, what: str) -> None:
    connection: Any = book.client
    good = put(book)
    fail(book)
    fields = {"origin": "sync", "created_at": "2026-01-01T00:00:00.000000Z", **BROKEN[what]}
    connection.hset("rq:job:broken", mapping=fields)
    connection.zadd("rq:failed:sync", {"broken": 1})
    connection.zadd("rq:wip:sync", {"broken:1": "+inf"})
    shown = [job["id"] for job in fetched(admin, "/0/data/jobs/sync/failed/8/asc/1.json")["jobs"]]
    assert good in shown
    assert admin.get("/0/data/job/broken.json").status_code in {200, 404}
    assert admin.get("/0/view/job/broken").status_code in {200, 404}


def test_a_long_result_is_cut(admin: httpx.Client, book: Book) -> None:
    job_id = put(book)
    succeed(book, json.dumps({"text": "x" * 300_000}))
    answer = admin.get(f"/0/data/job/{job_id}.json")
    assert len(answer.content) < 50_000
    assert answer.json()["result"].endswith("(300,012 characters)")


# --- none of it is code


def test_nothing_is_unpickled(admin: httpx.Client, book: Book, tmp_path: Path) -> None:
    """Upstream unpickles the metadata of a job whose page is opened."""
    canary = tmp_path / "canary"
    bomb, connection = pickle.dumps(Unpickled(str(canary))), book.client
    native(book, "x", job_id="bomb")
    connection.hset("rq:job:bomb", mapping={"meta": bomb, "data": zlib.compress(bomb), "result": bomb})
    connection.xadd("rq:results:bomb", {"type": "1", "return_value": bomb})
    connection.rpush("rq:queue:sync", "bomb")
    connection.sadd("rq:queues", "rq:queue:sync")
    connection.zadd("rq:wip:sync", {"bomb:1": "+inf"})
    connection.hset("rq:job:bomb", "worker_name", "w")
    connection.hset("rq:worker:w", mapping={"state": "busy", "queues": "sync"})
    connection.sadd("rq:workers", "rq:worker:w")
    paths = ("/0/view/job/bomb", "/0/data/job/bomb.json", "/0/data/jobs/sync/queued/8/asc/1.json")
    for path in (*paths, "/0/data/workers.json", "/0/view/workers"):
        assert admin.get(path).status_code == 200, path
    assert not canary.exists()
    pickle.loads(bomb)  # noqa: S301 - that it is one
    assert canary.exists()


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the content of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.scripts += [""] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data.strip()


@pytest.mark.parametrize("path", [*PAGES, "/0/view/jobs/{evil}/queued/8/asc/1", "/0/view/job/{id}"])
def test_pages_have_no_inline_code_and_load_nothing_from_elsewhere(admin: httpx.Client, book: Book, path: str) -> None:
    job_id = fill(book, EVIL)[0]
    answer = admin.get(path.format(id=job_id, evil="%27);alert(1)%3Cimg src=x onerror=alert(1)%3E"))
    assert answer.status_code == 200
    tags = Tags(answer.text)
    scripts = [attributes for tag, attributes in tags.found if tag == "script"]
    assert len(scripts) >= 6
    for attributes, content in zip(scripts, tags.scripts, strict=True):
        data = attributes.get("type") in {"text/template", "application/json"}
        assert data != bool(attributes.get("src")), attributes
        assert "<%" not in content
        assert data or not content
    for tag, attributes in tags.found:
        assert tag != "img"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        link = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if link:
            assert link.startswith(("/static/", "/tandem/"))
            assert admin.get(link).status_code == 200, link


def test_data_has_no_character_that_opens_a_tag(admin: httpx.Client, book: Book) -> None:
    ids = fill(book, EVIL)
    names = ("failed", "finished", "started", "queued")
    paths = ["/0/data/queues.json", "/0/data/workers.json", *(f"/0/data/job/{job_id}.json" for job_id in ids)]
    paths += [f"/0/data/jobs/sync/{name}/8/asc/1.json" for name in names]
    shown = ""
    for path in paths:
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert not re.search("[<>&]", answer.text), path
        shown += json.dumps(answer.json())
    assert json.dumps(EVIL)[1:-1] in shown, "and yet it is what was written"
