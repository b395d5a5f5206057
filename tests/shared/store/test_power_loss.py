"""Power loss: the append-only file ends earlier. What was acknowledged before that is there, and the book is true."""

from pathlib import Path

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tests.support.jobs import TASKS, both, claim, get, put, succeed
from tests.support.keyspace.problems import assert_keyspace
from tests.support.servers.valkey import Valkey


def journal(valkey: Valkey) -> Path:
    [file] = (valkey.folder / "appendonlydir").glob("*.incr.aof")
    return file


@both
@pytest.mark.parametrize("kept", [0, 0.4, 0.8])
def test_what_was_acknowledged_before_a_power_loss_is_there(own_valkey: Valkey, queue: str, kept: float) -> None:
    with client(own_valkey.url) as connection:
        book = Book(connection)
        ids = [put(book, TASKS[queue]) for _ in range(3)]
        [done, *_] = claim(book, queue)
        assert succeed(book, done)
        before = journal(own_valkey).stat().st_size
        for _ in range(5):
            put(book, TASKS[queue])
            [lease, *_] = claim(book, queue)
            succeed(book, lease)
        after = journal(own_valkey).stat().st_size
        own_valkey.kill()
        with journal(own_valkey).open("rb+") as file:
            file.truncate(before + int((after - before) * kept))
        own_valkey.start()
        assert_keyspace(connection)
        assert get(book, done.id).status is Status.SUCCEEDED
        assert all(get(book, job_id) for job_id in ids)
