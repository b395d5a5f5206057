"""The clock's loop, in this process: it does the duties until it is told to stop."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.config.file import Config, Schedule
from tandem.shared.config.settings import Settings
from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.retry import RetryIn
from tandem.shared.maintenance import clock
from tandem.shared.maintenance.scripts import forget_other_versions, load_scripts
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import SCRIPTS
from tests.support.jobs import FAILURE, TTL, claim, expire_lease, get, put
from tests.support.processes import until


async def test_it_moves_what_is_due_and_recovers_what_is_lost(book: Book, valkey: str, tmp_path: Path) -> None:
    put(book, "report")
    [again] = claim(book, "sync")
    book.run(leases.give_up(again, RetryIn(timedelta(milliseconds=1), FAILURE), usage=Usage(), ttl=TTL))
    put(book, "report")
    [lost] = claim(book, "sync")
    expire_lease(book, lost)
    settings = Settings(_env_file=None, redis_url=valkey, run_dir=tmp_path)
    stop = asyncio.Event()
    running = asyncio.create_task(clock.run(settings, stop))
    await asyncio.to_thread(until, lambda: {get(book, job.id).status for job in (again, lost)} == {Status.QUEUED})
    stop.set()
    await running


async def test_scripts_of_other_versions_are_deleted(book: Book, valkey: str, tmp_path: Path) -> None:
    """Redis would keep them for ever. Whoever still calls one gives it to Redis again."""
    client: Any = book.client
    old, foreign = "tandem_finish_of_an_older_version", "of_somebody_else"
    for name in (old, foreign):
        lua = f"#!lua name={name}\nredis.register_function('{name}', function() return 1 end)"
        client.function_load(lua, replace=True)
    settings = Settings(_env_file=None, redis_url=valkey, run_dir=tmp_path)
    stop = asyncio.Event()
    running = asyncio.create_task(clock.run(settings, stop))

    def kept() -> set[str]:
        return {library[1].decode() for library in client.function_list()}

    await asyncio.to_thread(until, lambda: old not in kept(), what="its deletion")
    stop.set()
    await running
    assert foreign in kept()
    assert any(name.startswith("tandem_move_due_") for name in kept()), "what the clock itself has called"
    client.function_delete(foreign)


def test_scripts_of_other_versions_are_kept_while_redis_takes_no_other(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    """Its memory is full: the processes that call them could not give them to it again."""
    client: Any = book.client
    client.function_flush("SYNC")
    old = "tandem_finish_of_an_older_version"
    client.function_load(f"#!lua name={old}\nredis.register_function('{old}', function() return 1 end)")
    client.config_set("maxmemory", 1)
    try:
        assert forget_other_versions(book) == []
        assert "Redis has not been given the scripts yet: command not allowed when used memory" in caplog.text
    finally:
        client.config_set("maxmemory", 0)
    assert forget_other_versions(book) == [old]


@pytest.mark.parametrize("options", ["", "&protocol=3"])
def test_a_process_that_starts_gives_redis_the_scripts(book: Book, valkey: str, options: str) -> None:
    client: Any = book.client
    client.function_flush("SYNC")
    load_scripts(valkey + options)
    load_scripts(valkey + options)
    assert {library[1].decode() for library in client.function_list()} == {s.function for s in SCRIPTS.values()}


async def test_a_duty_that_fails_keeps_no_other_from_being_done(
    book: Book, valkey: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tandem.clock")
    client: Any = book.client
    client.set(Key.ADOPTING, "no sorted set")
    client.lpush(Key.SCHEDULE + "first", "no text")
    hourly = [Schedule(name=name, task="score", cron="0 * * * *", input={"text": "x"}) for name in ("first", "second")]
    config = Config(schedules=tuple(hourly))
    settings = Settings(_env_file=None, redis_url=valkey, run_dir=tmp_path, config=config)
    stop = asyncio.Event()
    running = asyncio.create_task(clock.run(settings, stop))

    def faults(duty: str) -> int:
        return int(client.hget(Key.METRICS, f"duty_faults|{duty}") or 0)

    spoilt = ("return_unadopted", "schedule first")
    await asyncio.to_thread(until, lambda: min(map(faults, spoilt)) >= 2, what="two steps")
    put(book, "report")
    [lost] = claim(book, "sync")
    expire_lease(book, lost)
    await asyncio.to_thread(until, lambda: get(book, lost.id).status is Status.QUEUED, what="the lost job")
    assert client.exists(Key.SCHEDULE + "second")
    client.delete(Key.ADOPTING)
    await asyncio.to_thread(until, lambda: "return_unadopted is done again" in caplog.text, what="its recovery")
    stop.set()
    await running
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted(text.split(" fails")[0] for text in said) == [*spoilt], "each once"
    assert "WRONGTYPE" in said[0]
