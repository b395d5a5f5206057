"""Sync workers as processes."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tandem.shared.store.executor import Book
from tests.support.processes import Process
from tests.support.workers.rq import Pool, pool


@pytest.fixture
def toys(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    assert not cast("Any", book.client).dbsize()
    with pool(valkey, tmp_path, TANDEM_GRACE="10") as made:
        yield made


@pytest.fixture
def worker(toys: Pool) -> Iterator[Process]:
    process = toys.start("--name", "w1", "default")
    process.until_says("ready")
    yield process
    process.stop(signal.SIGTERM)
