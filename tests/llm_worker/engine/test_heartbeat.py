"""Heartbeats while Redis hangs."""

import asyncio
import gc
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tandem.llm_worker.engine.heartbeat import Heartbeat
from tandem.llm_worker.engine.tenure import Tenure
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.batching import BatchingBook
from tandem.shared.store.leases import Lease
from tests.support.servers.valkey import Valkey

BEATS = 3


class Leases(dict[str, Lease]):
    """None at all; counts the beats that asked for them."""

    beats = 0

    def values(self) -> Any:
        self.beats += 1
        return super().values()


async def nothing() -> None:
    """Do nothing besides."""


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.02)


async def test_beats_that_got_no_answer_leave_nothing_behind(
    own_valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio would log each of them as an exception that nobody retrieved."""
    left: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
    book = BatchingBook(async_client(own_valkey.url, timeout=0.2, connections=1, retries=0))
    held = Leases()
    ttl, tenure = timedelta(days=1), Tenure(held)
    heartbeat = Heartbeat(book, worker="w", ttl=ttl, leases=held, tenure=tenure, lost=lambda _: None, besides=nothing)
    own_valkey.process.send_signal(signal.SIGSTOP)
    heartbeat.start()
    await until(lambda: held.beats > BEATS)
    own_valkey.process.send_signal(signal.SIGCONT)
    await until(lambda: "Redis is back" in caplog.text)
    heartbeat.stop()
    await asyncio.sleep(0)
    await book.aclose()
    gc.collect()
    assert left == []
