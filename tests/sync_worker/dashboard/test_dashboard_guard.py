"""Looking changes nothing, and nobody else's page can make an admin's browser requeue a job."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.sync_worker.dashboard.pages import flask_app
from tandem.sync_worker.dashboard.readonly import NotForReaders, ReadOnly
from tests.support.dashboard.running import ADMIN, STATUSES, basic, dashboard_on, everything, fetched, status
from tests.support.processes import until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow

SAME = {"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}  # as a browser sends it from our own pages
FORBIDDEN = [
    ("GET", "/requeue/sync"),
    ("HEAD", "/requeue/sync"),
    ("GET", "/requeue/failed"),
    ("GET", "/%72equeue/sync"),
    ("GET", "/requeue/"),
    ("GET", "/job/{failed}/requeue"),
    ("GET", "/1/data/queues.json"),  # switches Redis
    ("GET", "/1/view/workers"),
    ("POST", "/"),
    ("POST", "/job/{failed}/delete"),
    ("POST", "/job/{queued}/delete"),
    ("POST", "/queue/sync/failed/empty"),
    ("POST", "/queue/sync/queued/empty"),
    ("POST", "/queue/sync/compact"),
    ("POST", "/0/data/queues.json"),
    ("POST", "/no/such/page"),
    ("PUT", "/"),
    ("PATCH", "/job/{failed}/requeue"),
    ("DELETE", "/job/{failed}/delete"),
    ("OPTIONS", "/"),
    ("PURGE", "/"),
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_it_is_read_only(admin: httpx.Client, book: Book, jobs: dict[str, str], method: str, path: str) -> None:
    before = everything(book)
    same = {"Origin": str(admin.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    answer = admin.request(method, path.format(**jobs), headers=same)
    assert answer.status_code == 403
    assert method == "HEAD" or "read-only" in answer.text
    assert everything(book) == before
    assert status(book, jobs["failed"]) is Status.FAILED


@pytest.mark.parametrize("path", ["/job/{failed}/requeue", "/requeue/sync"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Referer": "{own}/"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Origin": "{own}.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "{own}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{own}", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "null", "Host": ""},
    ],
    ids=repr,
)
def test_a_requeue_from_elsewhere_is_refused(
    admin: httpx.Client, book: Book, jobs: dict[str, str], path: str, headers: dict[str, str]
) -> None:
    before = everything(book)
    own = str(admin.base_url).rstrip("/")
    answer = admin.post(path.format(**jobs), headers={name: value.format(own=own) for name, value in headers.items()})
    assert answer.status_code == 403
    assert "own pages" in answer.text
    assert everything(book) == before


@pytest.mark.parametrize("path", ["/job/{failed}/requeue", "/requeue/sync"])
def test_a_requeue_without_a_login_is_refused(
    nobody: httpx.Client, book: Book, jobs: dict[str, str], path: str
) -> None:
    before = everything(book)
    own = str(nobody.base_url).rstrip("/")
    assert nobody.post(path.format(**jobs), headers={"Origin": own}).status_code == 401
    assert everything(book) == before


# --- the one thing that may change


@pytest.mark.parametrize("proof", [{"Origin": "{own}"}, {"Sec-Fetch-Site": "same-origin"}], ids=repr)
def test_a_failed_job_is_requeued_by_the_job_book(
    admin: httpx.Client, book: Book, jobs: dict[str, str], proof: dict[str, str]
) -> None:
    answer = requeue(admin, f"/job/{jobs['failed']}/requeue", proof)
    assert (answer.status_code, answer.json()["status"]) == (200, "OK")
    job = book.run(commands.fetch(jobs["failed"]))
    assert job
    assert (job.status, job.attempt, job.error) == (Status.QUEUED, 0, None)
    shown = [job["id"] for job in fetched(admin, "/0/data/jobs/sync/queued/8/asc/1.json")["jobs"]]
    assert shown == [jobs["queued"], jobs["failed"]]
    assert fetched(admin, "/0/data/jobs/sync/failed/8/asc/1.json")["jobs"] == []
    data = fetched(admin, f"/0/data/job/{jobs['failed']}.json")
    assert (data["status"], data["exc_info"], data["started_at"], data["ended_at"]) == ("queued", None, None, None)


@pytest.mark.parametrize("which", ["finished", "started", "queued", "scheduled", "unknown"])
def test_only_what_ended_badly_is_requeued(admin: httpx.Client, book: Book, jobs: dict[str, str], which: str) -> None:
    before = everything(book)
    answer = requeue(admin, f"/job/{jobs.get(which, 'unknown')}/requeue")
    assert answer.status_code == (404 if which == "unknown" else 409)
    assert answer.json()["status"] == "ERROR"
    assert everything(book) == before


def test_all_failed_jobs_of_one_queue_are_requeued(admin: httpx.Client, book: Book, jobs: dict[str, str]) -> None:
    connection: Any = book.client
    connection.zadd("rq:failed:sync", {"not-in-the-book": 1})
    connection.zadd("rq:failed:other", {jobs["failed"]: 1})
    answer = requeue(admin, "/requeue/sync")
    assert answer.status_code == 200
    assert answer.json() == {"status": "OK", "message": "Requeued 1 of 2 failed jobs.", "count": 1}
    statuses = {name: status(book, job_id) for name, job_id in jobs.items()}
    assert statuses == {
        "failed": Status.QUEUED,
        "finished": Status.SUCCEEDED,
        "scheduled": Status.SCHEDULED,
        "started": Status.RUNNING,
        "queued": Status.QUEUED,
    }


def test_without_redis_it_says_so(own_valkey: Valkey, tmp_path: Path) -> None:
    with (
        dashboard_on(own_valkey.url, tmp_path) as address,
        httpx.Client(base_url=address, auth=("x", ADMIN), timeout=30) as client,
    ):
        own_valkey.kill()
        answers = [requeue(client, path) for path in ("/job/abc/requeue", "/requeue/sync")]
        answers += [client.get(path) for path in ("/0/data/queues.json", "/0/view/job/abc", "/0/view/jobs")]
        assert [answer.status_code for answer in answers] == [503] * 5
        assert all("Redis does not answer" in answer.text for answer in answers)
        own_valkey.start()
        until(lambda: client.get("/0/data/queues.json").status_code == 200, what="queues again")


def requeue(client: httpx.Client, path: str, proof: dict[str, str] | None = None) -> httpx.Response:
    own = str(client.base_url).rstrip("/")
    return client.post(path, headers={name: value.format(own=own) for name, value in (proof or SAME).items()})


@pytest.mark.parametrize(
    "path",
    ["//requeue/sync", "/0/../requeue/sync", "/./requeue/sync", "/0/requeue/sync", "///requeue/sync", "/requeue//sync"],
)
def test_no_detour_leads_to_a_requeue(dashboard: str, book: Book, jobs: dict[str, str], path: str) -> None:
    """Sent as it is written: a client library would tidy it up."""
    assert jobs
    before = everything(book)
    host, port = dashboard.removeprefix("http://").split(":")
    for again in (path, path.replace("requeue", "%72equeue")):
        with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as lines:
            login = basic(f"x:{ADMIN}").decode()
            request = f"GET {again} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            code = int(lines.readline().split()[1])
            assert code in (403, 404), (again, code)
    assert everything(book) == before


def test_no_route_changes_anything_by_get(admin: httpx.Client, book: Book, jobs: dict[str, str], valkey: str) -> None:
    """Every route that rq-dashboard has, with what it tidies up when it comes across it."""
    connection: Any = book.client
    connection.rpush("rq:queue:sync", "no-hash")
    connection.sadd("rq:workers", "rq:worker:gone")
    for name in ("wip", "failed", "finished", "scheduled", "deferred", "canceled"):
        connection.zadd(f"rq:{name}:sync", {f"{jobs['queued']}:9" if name == "wip" else "no-hash": 1})
    before = everything(book)
    codes = {}
    for path in _paths(valkey, jobs):
        codes[path] = admin.get(path).status_code
        assert everything(book) == before, path
    assert len(codes) > 40
    shown = {path for path, code in codes.items() if code == 200}
    assert {"/", "/0/view/workers", "/0/data/workers.json", "/0/data/queues.json", "/favicon.ico"} <= shown
    assert f"/0/data/job/{jobs['failed']}.json" in shown
    assert {code for path, code in codes.items() if path not in shown} <= {403, 404}


def _paths(redis_url: str, jobs: dict[str, str]) -> list[str]:
    rules = flask_app(client(redis_url)).url_map.bind("localhost")
    paths = set()
    for rule in rules.map.iter_rules():
        for registry in (*STATUSES, "deferred", "canceled"):
            for job_id in jobs.values():
                values: dict[str, Any] = {"instance_number": 0, "queue_name": "sync", "registry_name": registry}
                values |= {"per_page": 8, "order": "asc", "page": 1, "job_id": job_id}
                values |= {"filename": "css/main.css", "name": "jobs.js", **(rule.defaults or {})}
                method = "GET" if "GET" in (rule.methods or ()) else "POST"
                paths.add(rules.build(rule.endpoint, values, method=method, append_unknown=False))
    return sorted(paths)


@pytest.mark.parametrize("command", ["SET", "DEL", "HSET", "EVALSHA", "FCALL", "XADD", "FLUSHALL", "LPOP"])
def test_the_pages_client_can_not_write(book: Book, command: str) -> None:
    with pytest.raises(NotForReaders, match=command):
        ReadOnly(book.client).execute_command(command, "a", "b", "c")
    with pytest.raises(NotForReaders):
        ReadOnly(book.client).pipeline()
    assert book.client.dbsize() == 0
