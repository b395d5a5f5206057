"""The indexes of rare statuses: few among very many are found at once, and nothing is missed."""

from datetime import timedelta
from typing import Any

from tandem.shared.jobs.model import Status
from tandem.shared.store import commands, listing, maintenance
from tandem.shared.store.executor import Book
from tandem.shared.store.listing import Filter
from tests.support.jobs import TTL, claim_one, fail, put, tick

MANY = 700  # more than one call looks at


def many(book: Book) -> None:
    for _ in range(MANY):
        put(book, owner="bob")


def one_of_each(book: Book) -> dict[str, str]:
    """Make a job of ann's for each rare status; none of them is younger than a job of bob's."""
    ids = {}
    ids["failed"] = put(book)
    fail(book, claim_one(book))
    ids["cancelled"] = put(book)
    book.run(commands.cancel(ids["cancelled"], ttl=TTL))
    ids["expired"] = put(book, expires_in=timedelta(seconds=5))
    book.client.hset(f"tandem:job:{ids['expired']}", "expires_at", "1")
    book.client.zadd("tandem:expiring", {ids["expired"]: 1})
    tick(book)
    ids["running"] = put(book)
    claim_one(book)
    ids["scheduled"] = put(book, delay=timedelta(hours=1))
    many(book)
    return ids


def index_all(book: Book) -> int:
    return sum(book.run(maintenance.index_statuses()) for _ in range(2 + MANY // 200))


def found(book: Book, status: str, owner: str = "") -> listing.Page:
    return book.run(listing.page(Filter(owner=owner, status=status), limit=50))


def test_the_one_among_many_is_found_with_one_call(book: Book) -> None:
    ids = one_of_each(book)
    assert index_all(book) == 0
    for status, job_id in ids.items():
        assert found(book, status) == listing.Page([job_id], None)
        assert found(book, status, "ann") == listing.Page([job_id], None)
        assert found(book, status, "bob").ids == []


def test_jobs_of_a_version_without_these_indexes_are_found(book: Book) -> None:
    ids = one_of_each(book)
    connection: Any = book.client
    connection.delete("tandem:indexed", *(f"tandem:status:{status}" for status in ids))
    for status, job_id in ids.items():
        page = found(book, status)
        while page.next and not page.ids:  # the index is not trusted yet: all jobs are looked at
            page = book.run(listing.page(Filter(status=status), after=page.next, limit=50))
        assert page.ids == [job_id]
    assert index_all(book) == len(ids)
    assert {status: found(book, status).ids for status in ids} == {status: [job_id] for status, job_id in ids.items()}


def test_an_entry_that_is_not_true_is_not_shown_and_goes(book: Book) -> None:
    job_id = put(book)
    assert index_all(book) == 0
    book.client.zadd("tandem:status:failed", {job_id: 1})
    assert found(book, Status.FAILED).ids == []
    book.client.delete("tandem:trimmed")
    assert book.run(maintenance.trim_indexes(ttl=timedelta(0))) == 1
    assert book.client.zcard("tandem:status:failed") == 0
