"""Workers tell one another of their limits, which hold only where all keep the same ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.llm_worker.engine import announcement
from tandem.llm_worker.engine.announcement import Announcement
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes
from tandem.shared.store import leases, queues
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.limits import explanation
from tests.support.processes import until
from tests.support.workers.llm import Pool, pool


def scopes(**limits: int) -> Scopes:
    return Scopes({"p": Limits(**limits)}, {}, default="p")


async def test_who_keeps_other_limits_warns_at_once_and_then_once_a_minute(
    async_book: AsyncBook, book: Book, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement, "TELL_EVERY", 0.0)
    for worker in ("one", "two", "three"):
        book.run(leases.renew("llm", [], worker=worker))
    one = Announcement(async_book, worker="one", scopes=scopes(rpm=12, tpm=900))
    same = Announcement(async_book, worker="two", scopes=scopes(tpm=900, rpm=12))
    for _ in range(2):
        await one.tell()
        await same.tell()
    assert caplog.messages == []
    other = Announcement(async_book, worker="three", scopes=scopes(tpm=800))
    for _ in range(3):
        await other.tell()
    [line] = caplog.messages
    assert "p rpm is unlimited here and 12 there; p tpm is 800 here and 900 there." in line
    await one.tell()
    assert "p rpm is 12 here and unlimited there; p tpm is 900 here and 800 there." in caplog.messages[-1]
    caplog.clear()
    book.run(queues.leave("three", "llm"))
    await same.tell()
    assert caplog.messages == [], "who has left keeps no limits"


async def test_only_what_lives_tells_limits(async_book: AsyncBook, book: Book) -> None:
    one = Announcement(async_book, worker="one", scopes=scopes(rpm=1))
    await one.tell()
    assert book.run(explanation.told()) == [], "no heartbeat yet"
    book.run(leases.renew("llm", [], worker="one"))
    await one.tell()
    assert book.run(explanation.told()) == [{"p": {"rpm": 1}}]
    book.run(queues.leave("one", "llm"))
    assert book.run(explanation.told()) == []


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


@pytest.mark.slow
def test_real_workers_with_other_limits_say_so(workers: Pool) -> None:
    first = workers.start(TANDEM_LLM_RPM="12")
    until(lambda: workers.book.run(explanation.told()), what="the first one's limits")
    second = workers.start()
    second.until_says("127.0.0.1 rpm is unlimited here and 12 there")
    first.until_says("127.0.0.1 rpm is 12 here and unlimited there")
