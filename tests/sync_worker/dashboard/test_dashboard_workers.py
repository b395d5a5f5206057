"""The dashboard's list of workers."""

from typing import Any, cast

import httpx
import pytest

from tandem.shared.store.executor import Book
from tests.support.dashboard.running import claim, fetched, put

pytestmark = pytest.mark.slow

NAME = "box.7"


def test_a_worker_is_busy_when_the_job_book_says_so(admin: httpx.Client, book: Book) -> None:
    """Its own word comes with its next heartbeat."""
    redis = cast("Any", book.client)

    def shown(state: str) -> tuple[str, Any]:
        redis.hset(f"rq:worker:{NAME}", mapping={"state": state, "queues": "sync"})
        redis.sadd("rq:workers", f"rq:worker:{NAME}")
        [worker] = fetched(admin, "/0/data/workers.json")["workers"]
        return worker["state"], worker["current_job"]

    assert shown("started") == ("started", "idle")
    assert shown("busy") == ("idle", "idle")
    job_id = put(book)
    lease = claim(book)
    state, job = shown("idle")
    assert (state, job["job_id"], lease.id) == ("busy", job_id, job_id)
    assert shown("busy")[0] == "busy"
