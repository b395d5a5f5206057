"""A job book in which very many jobs wait: stored by the real script, a pipeline at a time."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from ulid import ULID

from tandem.shared.jobs.submission import Admission, Options, Submission
from tandem.shared.store.executor import Book
from tandem.shared.store.scripts import Call
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority

T = TypeVar("T")

OWNERS, MODELS = 200, 10
AT_ONCE = 500  # calls in a pipeline
ADMISSION = Admission(queue_max=10**9, max_age=timedelta(days=1))
TTL = timedelta(days=7)
PAYLOAD = '{"messages": [{"role": "user", "content": "' + "x" * 150 + '"}]}'
# Of twenty jobs in a row.
PRIORITIES = (Priority.HIGH, Priority.LOW, Priority.IDLE, *[Priority.NORMAL] * 17)


def job(queue: str, number: int = 0, *, owner: str = "", payload: str = PAYLOAD, **options: Any) -> Submission:
    """Make one of a queue's jobs; by its number it has an owner, a model and a priority."""
    options.setdefault("priority", PRIORITIES[number % len(PRIORITIES)])
    is_sync = queue == "sync"
    return Submission(
        id=str(ULID()),
        queue=queue,
        task="email" if is_sync else "chat",
        owner=owner or f"owner-{number % OWNERS}",
        payload=payload,
        max_attempts=3,
        request_id="bench",
        options=Options(**options),
        rq=("description", "email", "data", "[]") if is_sync else (),
        lane=None if is_sync else f"200  model-{number % MODELS}",
    )


def batched(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Give the items in lists of `size`."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def run_all(book: Book, calls: Iterable[Call[T]]) -> list[T]:
    """Run calls in pipelines; gives their answers."""
    return [answer for part in batched(calls) for answer in book.run_all(part)]


def store(book: Book, jobs: Iterable[Submission]) -> list[str]:
    """Store jobs; gives their ids."""
    kept: list[str] = []
    for part in batched(jobs):
        book.run_all([store_job(one, ADMISSION) for one in part])
        kept += [one.id for one in part]
    return kept


def wait_in(book: Book, queue: str, count: int) -> None:
    """Let so many jobs wait in a pool."""
    store(book, (job(queue, number) for number in range(count)))
