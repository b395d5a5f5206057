"""Jobs that an application enqueues with plain RQ, run by a real sync worker and clock."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue, Retry
from rq.job import Job

from tandem.shared.config.settings import BAD_SETTING
from tandem.shared.jobs.model import Status
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.sync_worker.compat_rq.jobs import Refused, RqCall
from tandem.sync_worker.startup_checks import preload
from tests.support.jobs import get
from tests.support.processes import ROOT, clean_environment, running, until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow

SHOP = """
import os
import sys
from os import system
from pathlib import Path

IMPORTED_BY = os.getpid()

def imported_here():
    return IMPORTED_BY == os.getpid()

def add(a, b=1):
    return {"sum": a + b}

def flaky(marker):
    tries = Path(marker)
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) < 3:
        raise RuntimeError("not yet")
    return len(tries.read_text())

def fails():
    raise ValueError("no more stock")

def unspeakable():
    return object()

def half_a_character():
    return {"name": "no \\udcff.pdf"}

def deep():
    value = []
    for _ in range(900):
        value = [value]
    return value

def complains():
    raise ValueError("no \\udcff.pdf")
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop.no_tasks", "ModuleNotFoundError: No module named 'shop.no_tasks'"),
        ("no_shop", "ModuleNotFoundError: No module named 'no_shop'"),
        ("shop.broken", "RuntimeError: of its own"),
        ("shop.tasks.nothing", "ModuleNotFoundError: "),
    ],
)
def test_what_can_t_be_imported_is_one_line_at_start(tmp_path: Path, valkey: str, name: str, said: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "tasks.py").write_text(SHOP)
    (tmp_path / "shop" / "broken.py").write_text("raise RuntimeError('of its own')")
    given = {"REDIS_URL": valkey, "RUN_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path), "TANDEM_RQ_IMPORTS": name}
    done = subprocess.run(
        [sys.executable, "-m", "tandem.sync_worker"],
        env={**clean_environment(), **given},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == BAD_SETTING
    assert done.stderr.startswith(f"TANDEM_RQ_IMPORTS={name!r}: can't be imported: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_a_function_may_stand_for_its_module() -> None:
    preload(["json.dumps", "email.message"])


@pytest.fixture(scope="module")
def shop(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A worker and a clock beside an application whose functions they may call."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "tasks.py").write_text(SHOP)
    env = {
        "REDIS_URL": valkey_server.url,
        "RUN_DIR": str(folder),
        "PYTHONPATH": str(folder),
        "TANDEM_RQ_IMPORTS": "shop.tasks",
    }
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
        with (
            running("tandem.sync_worker", "-v", "invoices", "default", env=env, log=folder / "worker", says="ready"),
            running("tandem.shared.maintenance", env=env, log=folder / "clock", says="ready"),
        ):
            yield connection


def queue(connection: redis.Redis, name: str = "default") -> Queue:
    return Queue(name, connection=connection, serializer="json")


def ended(connection: redis.Redis, job: Job) -> Any:
    """The job's record, once it has ended."""
    book = Book(connection)

    def look() -> Any:
        record = book.run(commands.fetch(job.id))
        return record if record and record.finished else None

    return until(look, what=f"the end of {job.id}")


def test_a_plain_job_runs_and_rq_shows_its_result(shop: redis.Redis) -> None:
    for name in ("default", "invoices"):
        job = queue(shop, name).enqueue("shop.tasks.add", 2, b=3)
        record = ended(shop, job)
        assert (record.status, record.result, record.owner) == (Status.SUCCEEDED, {"sum": 5}, "external")
        assert (record.task, record.queue) == ("shop.tasks.add", "sync")
        assert job.get_status(refresh=True) == "finished"
        assert until(lambda: latest(shop, record.id)).return_value == {"sum": 5}  # noqa: B023 - called here


def latest(connection: redis.Redis, job_id: str) -> Any:
    return Job.fetch(job_id, connection=connection, serializer="json").latest_result()


def test_rqs_own_retry_is_kept(shop: redis.Redis, tmp_path: Path) -> None:
    job = queue(shop).enqueue("shop.tasks.flaky", str(tmp_path / "tries"), retry=Retry(max=3, interval=[0, 1]))
    record = ended(shop, job)
    assert (record.status, record.result, record.attempt, record.max_attempts) == (Status.SUCCEEDED, 3, 3, 4)


@pytest.mark.parametrize("first", ["add", "fails"])
def test_an_id_may_be_enqueued_again_when_its_job_has_ended(shop: redis.Redis, first: str) -> None:
    job_id, connection = f"nightly-{first}", shop
    before = ended(connection, queue(connection).enqueue(f"shop.tasks.{first}", *[1] * (first == "add"), job_id=job_id))
    later = partial(queue(connection).enqueue_in, timedelta(0))
    again: list[Callable[..., Job]] = [queue(connection).enqueue, later]
    for number, enqueue in enumerate(again):
        job = enqueue("shop.tasks.add", 5 + number, job_id=job_id)
        until(lambda: ended(connection, job).result == {"sum": 6 + number})  # noqa: B023 - called here
        assert job.get_status(refresh=True) == "finished"
    after = ended(connection, job)
    assert (after.error, after.attempt) == (None, 1)
    assert before.created_at < after.created_at
    assert job_id not in queue(connection).failed_job_registry.get_job_ids(cleanup=False)


def test_its_module_is_imported_once_for_all_jobs(shop: redis.Redis) -> None:
    assert ended(shop, queue(shop).enqueue("shop.tasks.imported_here")).result is False


def test_without_a_retry_a_failure_is_final(shop: redis.Redis) -> None:
    job = queue(shop).enqueue("shop.tasks.fails")
    record = ended(shop, job)
    assert (record.status, record.attempt) == (Status.FAILED, 1)
    assert record.error["message"] == "no more stock"
    assert job.id in queue(shop).failed_job_registry.get_job_ids(cleanup=False)
    assert "no more stock" in str(until(lambda: latest(shop, job.id)).exc_string)


def test_the_clock_serves_rqs_scheduled_registry(shop: redis.Redis) -> None:
    job = queue(shop).enqueue_in(timedelta(seconds=1), "shop.tasks.add", 1)
    assert ended(shop, job).result == {"sum": 2}


@pytest.mark.parametrize(
    ("function", "arguments", "why"),
    [
        ("os.system", ["true"], "not under TANDEM_RQ_IMPORTS"),
        ("shop.tasks_of_others.add", [1], "not under TANDEM_RQ_IMPORTS"),
        ("shop.tasks.system", ["true"], "not a function under"),
        ("shop.tasks.nowhere", [], "can't be imported"),
        ("shop.tasks.unspeakable", [], "not JSON"),
        ("shop.tasks.half_a_character", [], "not JSON"),
        ("shop.tasks.deep", [], "not JSON"),
        ("shop.tasks.complains", [], "no ?.pdf"),
    ],
)
def test_what_may_not_run_fails_with_the_reason(
    shop: redis.Redis, function: str, arguments: list[Any], why: str
) -> None:
    job = queue(shop).enqueue(function, *arguments)
    shown = until(lambda: job.get_status(refresh=True) == "failed" and _why(shop, job))
    assert why in str(shown)


def _why(connection: redis.Redis, job: Job) -> str | None:
    text = connection.hget(f"rq:job:{job.id}", "exc_info")
    return text.decode() if isinstance(text, bytes) else None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({b"data": b"\x80\x04pickle"}, "not JSON"),
        ({b"data": json.dumps(["shop.tasks.add", {"self": 1}, [], {}]).encode()}, "only functions"),
        ({b"data": json.dumps(["shop.tasks.add", None, {}, {}]).encode()}, "not a list"),
        (
            {b"data": json.dumps(["shop.tasks.add", None, [], {}]).encode(), b"success_callback_name": b"os.abort"},
            "callbacks",
        ),
        ({}, "not JSON"),
    ],
)
def test_hostile_records_are_refused(fields: dict[bytes, bytes], why: str) -> None:
    with pytest.raises(Refused, match=why):
        RqCall.read(fields, ("shop.tasks",))


def test_an_adopted_job_is_retried_like_any_other(shop: redis.Redis) -> None:
    job = queue(shop).enqueue("shop.tasks.fails")
    ended(shop, job)
    book = Book(shop)
    assert book.run(commands.retry(job.id)) is Status.FAILED
    until(lambda: get(book, job.id).finished)
    assert get(book, job.id).attempt == 1
