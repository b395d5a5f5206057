"""Jobs for tests of the book."""

from typing import Any

from shared.book import Book
from shared.catalog import load
from shared.dispatch import submission
from shared.submission import Admission, Options, Stored, submit

CATALOG = load()
PLENTY = Admission(queue_max=100_000)


def put(book: Book, task: str = "chat", owner: str = "ann", **options: Any) -> str:
    """Store a job of the task's example."""
    spec = CATALOG[task]
    payload = spec.input.model_validate(spec.example)
    job = submission(spec, payload, owner=owner, request_id="r", options=Options(**options))
    assert isinstance(book.run(submit(job, PLENTY)), Stored)
    return job.id
