"""Entries of RQ's lists that no RQ has written."""

from pathlib import Path
from typing import Any

import pytest

from tandem.shared.config.settings import Settings
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.sync_worker.compat_rq.adopt import adopt
from tests.support.jobs import TTL, put

NO_TEXT = b"no text \xff\xfe"


@pytest.mark.parametrize("record", [{}, {"data": "[]"}], ids=["without a job", "with a job"])
def test_an_entry_that_is_no_text_is_refused_and_gone(book: Book, tmp_path: Path, record: dict[str, str]) -> None:
    client: Any = book.client
    client.rpush("rq:queue:sync", NO_TEXT)
    if record:
        client.hset(b"rq:job:" + NO_TEXT, mapping=record)
    job_id = put(book, "email")
    claimed = book.run(leases.claim_sync(worker="w", ttl=TTL))
    assert [lease.id for lease in claimed.leases] == [job_id]
    [entry] = claimed.unknown
    assert entry.raw == NO_TEXT
    assert not adopt(book, Settings(_env_file=None, run_dir=tmp_path), entry)
    left = [*client.zrange("tandem:adopting", 0, -1), *client.lrange("rq:queue:sync", 0, -1)]
    assert (left, client.zrange("rq:failed:sync", 0, -1)) == ([], [])
    if record:
        assert client.hget(b"rq:job:" + NO_TEXT, "exc_info") == b"its id is no text"
