"""A large result leaves a worker of either pool as a file, or the attempt has failed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Stored
from tandem.shared.storage.artifacts import LARGE, Artifacts
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import AnySpec
from tests.support.jobs import PLENTY
from tests.support.tasks.specs import ODD, SYNC_TROUBLE
from tests.support.workers.llm import Pool, pool

pytestmark = pytest.mark.slow
SPECS: dict[str, AnySpec] = {"llm": ODD, "sync": SYNC_TROUBLE}
both = pytest.mark.parametrize("queue", SPECS)


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


def start(workers: Pool, queue: str) -> None:
    workers.start(sys.executable, "-m", f"tandem.{queue}_worker")
    workers.start(sys.executable, "-m", "tandem.shared.maintenance")


def put(book: Book, queue: str) -> str:
    spec = SPECS[queue]
    job = submission(spec, spec.input.model_validate({"how": "large"}), owner="ann", request_id="r")
    assert isinstance(book.run(store_job(job, PLENTY)), Stored)
    return job.id


@both
def test_a_large_result_is_a_file(workers: Pool, queue: str) -> None:
    start(workers, queue)
    [job] = workers.finished([put(workers.book, queue)])
    assert (job.status, job.result_json) == (Status.SUCCEEDED, None)
    assert job.result_file
    content = Artifacts((workers.folder / "files").as_uri()).get(job.result_file.key)
    assert json.loads(content) == {"done": "x" * LARGE}
    assert job.result_bytes == len(content)


def test_a_store_that_does_not_take_it_loses_no_answer_that_was_paid(workers: Pool) -> None:
    start(workers, "llm")
    (workers.folder / "files" / "ann").touch()  # where her folder would be
    [job] = workers.finished([put(workers.book, "llm")])
    assert (job.status, job.attempts, job.result_file) == (Status.SUCCEEDED, [], None)
    assert job.result == {"done": "x" * LARGE}
    assert "goes into Redis" in (workers.folder / "0.log").read_text()


def test_a_store_that_does_not_take_it_fails_the_attempt(workers: Pool) -> None:
    start(workers, "sync")
    (workers.folder / "files" / "ann").touch()  # where her folder would be
    [job] = workers.finished([put(workers.book, "sync")])
    assert (job.status, [attempt["type"] for attempt in job.attempts]) == (Status.FAILED, ["storage_unavailable"] * 2)
