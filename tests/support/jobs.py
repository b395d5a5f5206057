"""Jobs for tests of the book."""

from typing import Any

from tandem.shared.dispatch import submission
from tandem.shared.jobs.submission import Admission, Options, Stored
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import submit
from tandem.shared.tasks.registry import load

CATALOG = load()
PLENTY = Admission(queue_max=100_000)


def put(book: Book, task: str = "chat", owner: str = "ann", **options: Any) -> str:
    """Store a job of the task's example."""
    spec = CATALOG[task]
    payload = spec.input.model_validate(spec.example)
    job = submission(spec, payload, owner=owner, request_id="r", options=Options(**options))
    assert isinstance(book.run(submit(job, PLENTY)), Stored)
    return job.id
