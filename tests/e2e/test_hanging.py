"""Redis hangs: it takes what is said to it and answers nothing. Who is told to stop ends soon after its grace."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import PLENTY
from tests.support.processes import Process, until
from tests.support.servers.proxy import Proxy, Way, proxied
from tests.support.servers.valkey import Valkey
from tests.support.tasks.specs import JOURNAL, JournalInput
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("queue", ["llm", "sync"])
LONG = 300.0  # seconds of a job
SOON = 30.0  # seconds: less than the tries of two commands, one after the other


@pytest.fixture
def workers(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pool]:
    with client(own_valkey.url) as connection, pool(Book(connection), own_valkey.url, tmp_path / "w") as made:
        yield made


@pytest.fixture
def network(own_valkey: Valkey, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "p", own_valkey.folder / "valkey.sock") as made:
        yield made


def start(workers: Pool, network: Proxy, queue: str) -> Process:
    command = [sys.executable, "-m", f"tandem.{queue}_worker"]
    return workers.start(*command, REDIS_URL=network.url, JOURNAL=str(workers.folder / "journal"))


def put(workers: Pool, queue: str) -> str:
    if queue == "llm":
        return workers.put("wait", seconds=LONG)
    job = submission(JOURNAL, JournalInput(marker="", seconds=LONG), owner="ann", request_id="r", options=Options())
    assert isinstance(workers.book.run(store_job(job, PLENTY)), Stored)
    return job.id


@both
@pytest.mark.parametrize("is_busy", [False, True])
def test_a_worker_that_is_told_to_stop_ends(workers: Pool, network: Proxy, queue: str, *, is_busy: bool) -> None:
    worker = start(workers, network, queue)
    if is_busy:
        job_id = put(workers, queue)
        until(lambda: workers.job(job_id).status is Status.RUNNING, what="the claim")
    network.partition(Way.DOWN)
    until(lambda: network.held[Way.DOWN], what="a command without an answer")
    assert worker.stop(patience=SOON) == 0
