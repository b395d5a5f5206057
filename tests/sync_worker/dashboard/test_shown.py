"""A job on the dashboard, read in this process, whatever its record and texts are."""

import json
from typing import Any

import pytest

from tandem.shared.jobs import texts
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.sync_worker.dashboard.shown import TOO_LARGE, ShownJob
from tests.support.dashboard.running import put, succeed

RESULT = {"text": "The parcel came a day early and well packed. " * 40}


def test_a_long_result_is_read(book: Book) -> None:
    job_id = put(book)
    succeed(book, json.dumps(RESULT))
    assert ShownJob.fetch(job_id, connection=book.client).return_value() == RESULT


@pytest.mark.parametrize("what", ["a record", "a record of another type", "a result", "a result of another type"])
def test_what_is_spoilt_spoils_no_page(book: Book, what: str) -> None:
    client: Any = book.client
    job_id = put(book)
    succeed(book, json.dumps(RESULT))
    match what:
        case "a record":
            client.hset(Key.JOB + job_id, "usage_input", "many")
        case "a record of another type":
            client.set(Key.JOB + job_id, "no hash")
        case "a result":
            client.set(Key.RESULT + job_id, texts.MARK + b"{}")
        case _:
            client.delete(Key.RESULT + job_id)
            client.lpush(Key.RESULT + job_id, "no text")
    shown = ShownJob.fetch(job_id, connection=book.client)
    assert shown.get_status() == "finished"
    assert shown.return_value() == (None if "record" in what else TOO_LARGE)
