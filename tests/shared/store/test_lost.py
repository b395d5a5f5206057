"""Jobs that no list leads to any more, because somebody deleted an entry: they are found and put back."""

from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.store import maintenance
from tandem.shared.store.executor import Book
from tests.support.jobs import TTL, claim, get, put
from tests.support.keyspace.problems import assert_keyspace

LIST = "rq:queue:sync"
MANY = 450  # more than one look at a list reads


@pytest.fixture
def ids(book: Book) -> list[str]:
    """Jobs that have waited for long, ready one after the other."""
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


def searches(book: Book) -> int:
    """How often the server has searched a list from one end."""
    stats: Any = book.client.info("commandstats")
    return int(stats.get("cmdstat_lpos", {"calls": 0})["calls"])


def test_complete_lists_are_not_searched(book: Book, ids: list[str]) -> None:
    client: Any = book.client
    searched = searches(book)
    assert recover(book) == 0
    assert searches(book) == searched
    client.lrem(LIST, 1, ids[300])
    assert recover(book) == 1
    assert searches(book) == searched + 1, "for that one"
    assert client.lindex(LIST, -1).decode() == ids[300]


def test_a_lost_job_is_found_beside_a_strange_id(book: Book, ids: list[str]) -> None:
    """As many ids as jobs wait, and one of them is another."""
    client: Any = book.client
    client.lset(LIST, 225, "strange")  # where a search begins
    assert recover(book) == 1
    assert recover(book) == 0, "it is not put back twice"
    assert client.lpos(LIST, ids[225]) == MANY
    client.lrem(LIST, 1, "strange")
    assert_keyspace(client)


def test_nothing_is_put_back_that_is_only_out_of_order(book: Book, ids: list[str]) -> None:
    """Redis's clock went back between the two halves."""
    for n, job_id in enumerate(ids[MANY // 2 :]):
        book.client.hset(f"tandem:job:{job_id}", "ready_at", str(n + 1))
    assert recover(book) == 0
    assert_keyspace(book.client)


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
    assert client.llen(LIST) == 1
    [lease] = claim(book, "sync")
    assert lease.id == job_id
