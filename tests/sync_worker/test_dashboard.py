"""The dashboard as a process of its own: who may look, what it shows, and that it changes nothing."""

import re
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from shared import store
from shared.attempt import Fail, Failure
from shared.book import Book
from shared.catalog import load
from shared.dispatch import submission
from shared.job import Status, Usage
from shared.store import Lease
from tests.conftest import Valkey, free_port
from tests.processes import Process, running, until

CATALOG = load()
TTL = timedelta(days=1)
ADMIN, USER = "admin-key-0123456789", "user-key-0123456789"
JSON = ("/0/data/queues.json", "/0/data/workers.json", "/0/data/jobs/sync/queued/8/asc/1.json")
PAGES = ("/", "/0/view/jobs", "/0/view/workers", "/0/view/jobs/sync/failed/8/asc/1")


@pytest.fixture(scope="module")
def dashboard(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running dashboard; it finds a job book that each test fills anew."""
    folder, port = tmp_path_factory.mktemp("dashboard"), free_port()
    env = {
        "REDIS_URL": valkey_server.url,
        "DASHBOARD_PORT": str(port),
        "TANDEM_API_KEYS": f"root:admin:{ADMIN},ann:user:{USER}",
        "RUN_DIR": str(folder),
    }
    with running("sync_worker.dashboard", env=env, log=folder / "log", says="listening on"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def nobody(dashboard: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def admin(dashboard: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard, auth=("anybody", ADMIN), timeout=30) as client:
        yield client


def put(book: Book, task: str = "report") -> str:
    spec = CATALOG[task]
    job = submission(spec, spec.input.model_validate(spec.example), owner="ann", request_id="r")
    assert book.run(store.submit(job, queue_max=99))
    return job.id


def claim(book: Book) -> Lease:
    [lease] = book.run(store.claim_sync(worker="test", ttl=TTL)).leases
    return lease


@pytest.fixture
def jobs(book: Book) -> dict[str, str]:
    """The ids of a failed, a finished, a running, a waiting and a queued job."""
    ids = {}
    for status in ("failed", "finished", "scheduled", "started", "queued"):
        ids[status] = put(book, "cleanup" if status == "queued" else "report")
        if status != "queued":
            lease = claim(book)
        if status == "failed":
            book.run(store.give_up(lease, Fail(Failure("oops", "it broke", retryable=True)), usage=Usage(), ttl=TTL))
        if status == "finished":
            book.run(store.succeed(lease, store.Success("{}"), usage=Usage(), ttl=TTL))
        if status == "scheduled":
            book.run(store.crash(lease, ttl=TTL, delay=timedelta(hours=1)))
    return ids


def fetched(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


# --- who may look


def basic(text: str | bytes) -> bytes:
    return b"Basic " + b64encode(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("path", ["/", "/static/css/main.css", JSON[0]])
@pytest.mark.parametrize(
    "login",
    [
        b"",
        basic("admin:wrong"),
        basic("admin:"),
        basic(":"),
        basic("admin"),
        basic(f"{ADMIN}:"),
        basic(f"x:{ADMIN} "),
        basic(f"ann:{USER}"),
        basic(b"x:\xff\xfe"),
        basic("x:schlüssel-0123456789"),
        b"Basic",
        b"Basic !!!",
        b"Basic \xff\xfe\xfd",
        b"Basic " + ADMIN.encode(),
        b"Bearer " + ADMIN.encode(),
        ADMIN.encode(),
    ],
    ids=repr,
)
def test_nobody_looks_without_an_admin_key(nobody: httpx.Client, path: str, login: bytes) -> None:
    answer = nobody.get(path, headers=[(b"Authorization", login)] if login else [])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert ADMIN not in answer.text


@pytest.mark.parametrize("scheme", [b"Basic", b"basic", b"BASIC"])
@pytest.mark.parametrize("name", ["", "admin", "anybody at all", "ü"])
def test_any_name_with_an_admin_key(nobody: httpx.Client, scheme: bytes, name: str) -> None:
    header = scheme + b" " + b64encode(f"{name}:{ADMIN}".encode())
    assert nobody.get("/", headers=[(b"Authorization", header)]).status_code == 200


# --- what it shows


@pytest.mark.parametrize("path", PAGES)
def test_its_pages(admin: httpx.Client, jobs: dict[str, str], path: str) -> None:
    assert jobs
    answer = admin.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    for link in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)):
        assert admin.get(link).status_code == 200, link


def test_the_queue_with_its_counts(admin: httpx.Client, jobs: dict[str, str]) -> None:
    assert jobs
    [queue] = fetched(admin, "/0/data/queues.json")["queues"]
    shown = {name.removesuffix("_job_registry_count"): count for name, count in queue.items() if "count" in name}
    expected = {"count": 1, "failed": 1, "finished": 1, "scheduled": 1, "started": 1, "canceled": 0, "deferred": 0}
    assert (queue["name"], shown) == ("sync", expected)


@pytest.mark.parametrize("status", ["queued", "started", "failed", "finished", "scheduled"])
def test_jobs_by_status_with_task_and_id(admin: httpx.Client, jobs: dict[str, str], status: str) -> None:
    [job] = fetched(admin, f"/0/data/jobs/sync/{status}/8/asc/1.json")["jobs"]
    task = "cleanup" if status == "queued" else "report"
    assert (job["id"], job["description"]) == (jobs[status], f"{task} {jobs[status]}")
    assert admin.get(f"/0/view/jobs/sync/{status}/8/asc/1").status_code == 200


@pytest.mark.parametrize("status", ["queued", "started", "failed", "finished", "scheduled"])
def test_a_job_s_page_and_data(admin: httpx.Client, jobs: dict[str, str], status: str) -> None:
    page = admin.get(f"/0/view/job/{jobs[status]}")
    assert page.status_code == 200
    assert jobs[status] in page.text
    data = fetched(admin, f"/0/data/job/{jobs[status]}.json")
    assert (data["id"], data["status"], data["origin"]) == (jobs[status], status, "sync")
    assert data["description"].endswith(jobs[status])


def test_it_shows_nothing_a_user_wrote(admin: httpx.Client, book: Book) -> None:
    """Its pages build HTML from what they show; so no payload, result or error gets there."""
    spec, evil = CATALOG["report"], "<script>alert(1)</script>"
    job = submission(spec, spec.input.model_validate({"html": evil, "title": evil}), owner="ann", request_id=evil)
    book.run(store.submit(job, queue_max=9))
    failure = Fail(Failure("oops", evil, retryable=False))
    book.run(store.give_up(claim(book), failure, usage=Usage(), ttl=TTL))
    paths = (f"/0/data/job/{job.id}.json", f"/0/view/job/{job.id}", "/0/data/jobs/sync/failed/8/asc/1.json")
    shown = [admin.get(path) for path in paths]
    assert [answer.status_code for answer in shown] == [200, 200, 200]
    assert not [answer.text for answer in shown if "alert(1)" in answer.text]


@pytest.mark.parametrize("path", ["/0/view/job/{id}", "/0/data/job/{id}.json"])
@pytest.mark.parametrize("job_id", ["01NOBODY", "no-such-job"])
def test_an_unknown_job_is_404(admin: httpx.Client, book: Book, path: str, job_id: str) -> None:
    assert book
    answer = admin.get(path.format(id=job_id))
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_an_erased_job_is_404_and_in_no_list(admin: httpx.Client, book: Book, jobs: dict[str, str]) -> None:
    book.run(store.erase([jobs["failed"]]))
    assert admin.get(f"/0/data/job/{jobs['failed']}.json").status_code == 404
    assert fetched(admin, "/0/data/jobs/sync/failed/8/asc/1.json")["jobs"] == []


def test_an_empty_job_book(admin: httpx.Client, book: Book) -> None:
    assert book.client.dbsize() == 0
    assert fetched(admin, "/0/data/queues.json") == {"queues": []}
    assert fetched(admin, "/0/data/workers.json") == {"workers": []}
    assert admin.get("/").status_code == 200


def test_workers_idle_and_busy(admin: httpx.Client, book: Book, valkey_server: Valkey, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a mail server that never greets
        env = {
            "REDIS_URL": valkey_server.url,
            "RUN_DIR": str(tmp_path),
            "SMTP_URL": f"smtp://127.0.0.1:{silent.getsockname()[1]}",
            "TANDEM_GRACE": "0",
            "TANDEM_LOG_FORMAT": "json",
        }
        with running("sync_worker", "--name", "w1", env=env, log=tmp_path / "log", says='"ready"') as process:

            def worker(state: str) -> dict[str, Any]:
                found = fetched(admin, "/0/data/workers.json")["workers"]
                return next((item for item in found if item["state"] == state), {})

            idle = until(lambda: worker("idle"), what="the idle worker")
            assert (idle["name"], idle["pid"], idle["queues"]) == ("w1", process.popen.pid, ["sync"])
            job_id = put(book, "email")
            assert until(lambda: worker("busy"), what="the busy worker")["name"] == "w1"
            [started] = fetched(admin, "/0/data/jobs/sync/started/8/asc/1.json")["jobs"]
            assert started["id"] == job_id
            assert admin.get("/0/view/workers").status_code == 200
    assert fetched(admin, "/0/data/workers.json")["workers"] == [], "it took its leave"
    assert status(book, job_id) is Status.QUEUED, "and handed its job back"


# --- it changes nothing


def status(book: Book, job_id: str) -> Status:
    job = book.run(store.fetch(job_id))
    assert job
    return job.status


def everything(book: Book) -> dict[bytes, Any]:
    """The whole of Redis."""
    connection: Any = book.client
    return {key: connection.dump(key) for key in connection.scan_iter("*")}


FORBIDDEN = [
    ("GET", "/requeue/sync"),
    ("HEAD", "/requeue/sync"),
    ("GET", "/requeue/failed"),
    ("GET", "/%72equeue/sync"),
    ("GET", "/requeue/"),
    ("POST", "/requeue/sync"),
    ("POST", "/"),
    ("POST", "/job/{failed}/requeue"),
    ("POST", "/job/{failed}/delete"),
    ("POST", "/job/{queued}/delete"),
    ("POST", "/queue/sync/failed/empty"),
    ("POST", "/queue/sync/queued/empty"),
    ("POST", "/queue/sync/compact"),
    ("POST", "/no/such/page"),
    ("PUT", "/"),
    ("PATCH", "/job/{failed}/requeue"),
    ("DELETE", "/job/{failed}/delete"),
    ("OPTIONS", "/"),
    ("PURGE", "/"),
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_an_admin_changes_nothing(
    admin: httpx.Client, book: Book, jobs: dict[str, str], method: str, path: str
) -> None:
    before = everything(book)
    answer = admin.request(method, path.format(**jobs))
    assert answer.status_code == 403
    assert method == "HEAD" or "read-only" in answer.text
    assert everything(book) == before
    assert status(book, jobs["failed"]) is Status.FAILED


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


def test_looking_at_everything_changes_nothing(admin: httpx.Client, book: Book, jobs: dict[str, str]) -> None:
    before = everything(book)
    lists = [f"/0/data/jobs/sync/{name}/8/asc/1.json" for name in (*jobs, "canceled", "deferred")]
    details = [f"/0/data/job/{job_id}.json" for job_id in jobs.values()]
    for path in (*PAGES, *JSON, *lists, *details):
        assert admin.get(path).status_code == 200, path
    assert everything(book) == before


# --- how it is served


@pytest.mark.parametrize("path", ["/", "/0/data/queues.json", "/static/css/main.css", "/0/view/job/nobody"])
def test_security_headers(admin: httpx.Client, path: str) -> None:
    headers = admin.get(path).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_it_listens_on_loopback_unless_told_otherwise(dashboard: str) -> None:
    port = int(dashboard.rpartition(":")[2])
    connections: list[Any] = psutil.net_connections("tcp")
    ours = [one.laddr for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port]
    assert [place.ip for place in ours] == ["127.0.0.1"]


def ended(env: dict[str, str], log: Path) -> tuple[int, str]:
    """The exit code and last line of a dashboard that does not start."""
    process = Process([sys.executable, "-m", "sync_worker.dashboard"], env=env, log=log)
    code = process.popen.wait(30)
    return code, process.output.splitlines()[-1]


def test_a_port_in_use_is_said_in_one_line(valkey: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        env = {"REDIS_URL": valkey, "DASHBOARD_PORT": str(port), "TANDEM_API_KEYS": f"root:admin:{ADMIN}"}
        code, line = ended(env, tmp_path / "log")
    assert code == 1
    assert line.startswith(f"DASHBOARD_PORT={port}: can't listen: Address already in use")


def test_without_keys_it_does_not_start(valkey: str, tmp_path: Path) -> None:
    code, line = ended({"REDIS_URL": valkey, "RUN_DIR": str(tmp_path)}, tmp_path / "log")
    assert code == 2
    assert line.startswith("TANDEM_API_KEYS is unset")
