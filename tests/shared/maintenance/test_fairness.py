"""What the config file says of tenants comes to Redis, and holds there."""

from datetime import timedelta
from typing import Any, cast

import pytest

from tandem.shared.config.file import Config
from tandem.shared.config.settings import Settings
from tandem.shared.maintenance.fairness import FairnessKeeper, tell_fairness
from tandem.shared.store.commands import now
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tests.support.processes import until


@pytest.fixture
def said(book: Book) -> Any:
    """Read what Redis keeps."""

    def read() -> dict[str, float]:
        found = cast("dict[bytes, bytes]", book.client.hgetall(Key.FAIRNESS))
        return {field.decode(): float(value) for field, value in found.items()}

    return read


def settings(valkey: str, tenants: dict[str, Any] | None) -> Settings:
    tasks = {"report": {"concurrency": 3}} if tenants else {}
    config = None if tenants is None else Config.model_validate({"tenants": tenants, "tasks": tasks})
    return Settings(redis_url=valkey, config=config)


ACME = {"acme": {"weight": 2, "concurrency": {"llm": 50, "sync": 4}}, "other": {"weight": 1}}
ROWS = {"weight:acme": 2, "llm:acme": 50, "sync:acme": 4, "task:report": 3}


def test_the_file_is_told_and_told_again_when_redis_has_lost_it(book: Book, valkey: str, said: Any) -> None:
    keeper = FairnessKeeper(settings(valkey, ACME), book)
    keeper.step()
    assert said() == ROWS
    book.client.hdel(Key.FAIRNESS, "llm:acme")
    keeper.step()
    assert said() == ROWS
    book.client.flushall()
    keeper.step()
    assert said() == ROWS


def test_it_is_written_once(book: Book, valkey: str) -> None:
    keeper = FairnessKeeper(settings(valkey, ACME), book)
    keeper.step()
    before = book.client.info("stats")["total_net_input_bytes"]  # type: ignore[index]
    for _ in range(10):
        keeper.step()
    assert book.client.info("stats")["total_net_input_bytes"] - before < 4000  # type: ignore[index]
    tell_fairness(settings(valkey, ACME))
    keeper.step()
    assert book.client.hlen(Key.FAIRNESS) == len(ROWS)


def test_who_began_last_is_right(book: Book, valkey: str, said: Any) -> None:
    old = FairnessKeeper(settings(valkey, ACME), book)
    old.step()
    new = FairnessKeeper(settings(valkey, {"acme": {"weight": 3}}), book)
    began = book.run(now())
    until(lambda: book.run(now()) - began > timedelta(milliseconds=2))
    new.step()
    old.step()
    assert said() == {"weight:acme": 3, "task:report": 3}
    began = book.run(now())
    until(lambda: book.run(now()) - began > timedelta(milliseconds=2))
    tell_fairness(settings(valkey, {}))
    new.step()
    old.step()
    assert said() == {}, "a file that names no tenants ends what was said of them"


def test_who_has_no_file_says_nothing(book: Book, valkey: str, said: Any) -> None:
    tell_fairness(settings(valkey, ACME))
    tell_fairness(settings(valkey, None))
    FairnessKeeper(settings(valkey, None), book).step()
    assert said() == ROWS
