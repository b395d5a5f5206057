"""Jobs that nothing leads to any more, because somebody deleted an entry: they are found and put back."""

from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.store import maintenance
from tandem.shared.store.executor import Book
from tests.support.jobs import TTL, claim, get, put
from tests.support.keyspace.problems import assert_keyspace

LINE, INDEX = "tandem:lane:jobs:normal:ann:~sync", "tandem:waiting:sync"
MANY = 120


@pytest.fixture
def ids(book: Book) -> list[str]:
    """Jobs that have waited for long."""
    found = [put(book, "email") for _ in range(MANY)]
    for n, job_id in enumerate(found):
        book.client.hset(f"tandem:job:{job_id}", "ready_at", str(n + 1))
    return found


def recover(book: Book) -> int:
    """Look at all jobs, in as many steps as it takes."""
    client: Any = book.client
    found = book.run(maintenance.recover_lost(ttl=TTL, looks=50))
    while int(client.get("tandem:swept")):
        found += book.run(maintenance.recover_lost(ttl=TTL, looks=50))
    return found


@pytest.mark.parametrize("lost", [[LINE], [INDEX], [LINE, INDEX]])
def test_a_lost_job_is_put_back_once(book: Book, ids: list[str], lost: list[str]) -> None:
    assert recover(book) == 0, "nothing is lost"
    for key in lost:
        book.client.zrem(key, ids[70])
    assert recover(book) == 1
    assert recover(book) == 0
    assert_keyspace(book.client)


def test_an_owner_without_a_turn_has_one_again(book: Book, ids: list[str]) -> None:
    client: Any = book.client
    client.delete("tandem:lane:tenants:~sync")
    assert claim(book, "sync") == []
    assert recover(book) == 0, "each job is in its place"
    [lease] = claim(book, "sync")
    assert lease.id == ids[0]


def test_a_lost_job_whose_time_has_come_is_put_back_once(book: Book) -> None:
    client: Any = book.client
    job_id = put(book, "email", delay=timedelta(hours=1))
    client.delete("rq:scheduled:sync")
    client.hset(f"tandem:job:{job_id}", mapping={"created_at": "1", "ready_at": "2", "run_at": "2"})
    assert recover(book) == 1
    assert recover(book) == 0
    while not book.run(maintenance.move_due()):
        assert get(book, job_id).status is Status.SCHEDULED
    assert get(book, job_id).status is Status.QUEUED
    assert client.zcard(INDEX) == 1
    [lease] = claim(book, "sync")
    assert lease.id == job_id
