"""A running dashboard, and a job book for it to show."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from tandem.deploy.local.ports import free_port
from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, Failure
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.registry import load
from tests.support.jobs import PLENTY
from tests.support.processes import running

CATALOG = load()
TTL = timedelta(days=1)
ADMIN, USER = "admin-key-0123456789", "user-key-0123456789"
STATUSES = ("failed", "finished", "scheduled", "started", "queued")


@contextmanager
def dashboard_on(redis_url: str, folder: Path) -> Iterator[str]:
    """Run a dashboard; gives its address."""
    port = free_port()
    env = {
        "REDIS_URL": redis_url,
        "DASHBOARD_PORT": str(port),
        "TANDEM_API_KEYS": f"root:admin:{ADMIN},ann:user:{USER}",
        "RUN_DIR": str(folder),
    }
    with running("tandem.sync_worker.dashboard", env=env, log=folder / "log", says="listening on"):
        yield f"http://127.0.0.1:{port}"


def put(book: Book, task: str = "report", **payload: Any) -> str:
    spec = CATALOG[task]
    job = submission(spec, spec.input.model_validate(payload or spec.example), owner="ann", request_id="r")
    assert book.run(store_job(job, PLENTY))
    return job.id


def claim(book: Book) -> Lease:
    [lease] = book.run(leases.claim_sync(worker="box.7", ttl=TTL)).leases
    return lease


def fail(book: Book, message: str = "it broke") -> None:
    failure = Fail(Failure("oops", message, retryable=True))
    book.run(leases.give_up(claim(book), failure, usage=Usage(), ttl=TTL))


def succeed(book: Book, result: str = '{"pages": 2}') -> None:
    book.run(leases.succeed(claim(book), leases.Success(result), usage=Usage(), ttl=TTL))


def one_of_each(book: Book) -> dict[str, str]:
    """The ids of a failed, a finished, a waiting, a running and a queued job, by RQ's names for it."""
    ids = {}
    for status in STATUSES:
        ids[status] = put(book, "cleanup" if status == "queued" else "report")
        match status:
            case "failed":
                fail(book)
            case "finished":
                succeed(book)
            case "scheduled":
                book.run(leases.crash(claim(book), ttl=TTL, delay=timedelta(hours=1)))
            case "started":
                claim(book)
    return ids


def status(book: Book, job_id: str) -> str:
    job = book.run(commands.fetch(job_id))
    assert job
    return job.status


def everything(book: Book) -> dict[bytes, Any]:
    """The whole of Redis, with what expires when."""
    connection: Any = book.client
    return {key: (_value(connection, key), connection.pexpiretime(key)) for key in connection.scan_iter("*")}


def _value(connection: Any, key: bytes) -> Any:
    """Read a hash by its fields: their order in a dump changes as it is read, while it moves to another table."""
    return connection.hgetall(key) if connection.type(key) == b"hash" else connection.dump(key)


def fetched(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def basic(text: str | bytes) -> bytes:
    return b"Basic " + b64encode(text.encode() if isinstance(text, str) else text)
