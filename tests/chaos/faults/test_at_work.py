"""Who has something to hit."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults.at_work import AtWork, Leaving
from tests.chaos.plan.model import LEAVES_LATE


def write(log: Path, **entry: Any) -> None:
    with log.open("a") as file:
        file.write(json.dumps(entry) + "\n")


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "provider.jsonl", tmp_path / "journal.jsonl"


@pytest.fixture
def at_work(logs: tuple[Path, Path]) -> AtWork:
    return AtWork(*logs, but=frozenset({"limited"}), lengths={"job-1-1.": 8.0, "job-1-2.": 3.0})


def test_a_worker_is_at_what_it_has_asked_for(logs: tuple[Path, Path], at_work: AtWork) -> None:
    assert at_work.requests("one") == []
    for number, (asker, model) in enumerate([("one", "m"), ("one", "limited"), ("two", "m"), ("one", "m")]):
        write(logs[0], number=number, asker=asker, marker=f"job-1-{number}.", model=model, came=0.0)
    assert at_work.requests("one") == ["job-1-0.", "job-1-3."]
    write(logs[0], number=0, ended=1.0)
    assert at_work.requests("one") == ["job-1-3."]


def test_what_a_sync_job_still_takes_is_what_was_planned(logs: tuple[Path, Path], at_work: AtWork) -> None:
    write(logs[1], token="a", marker="job-1-1.", pid=11, began=time.time() - 1)
    write(logs[1], token="b", marker="job-1-2.", pid=12, began=time.time() - 5)
    assert 6 < at_work.left(11) <= 7
    assert at_work.left(12) == 0
    assert at_work.left(13) == 0


def test_a_job_that_is_cancelled_soon_is_not_worth_a_fault(logs: tuple[Path, Path], at_work: AtWork) -> None:
    write(logs[1], token="a", marker="job-1-1.", pid=11, began=time.time() - 1)
    write(logs[1], token="c", marker="job-1-9.", pid=12, began=time.time() - 1)
    assert at_work.lasts(11, age=1)
    assert not at_work.lasts(12, age=1)
    assert at_work.lasts(13, age=1), "a report, or a mail"
    assert not at_work.lasts(13, age=0.1), "it may be over in a moment"


def test_who_still_waits_for_the_mail_servers_goodbye_has_written_down_that_its_mail_is_taken(tmp_path: Path) -> None:
    log, now = tmp_path / "mails.jsonl", time.time()
    for job, to, ago in [
        ("soon", LEAVES_LATE, 0),
        ("now", LEAVES_LATE, 1),
        ("other", "x", 1),
        ("over", LEAVES_LATE, 9),
    ]:
        write(log, job=job, to=[to], at=now - ago)
    assert Leaving(log).jobs() == {"now"}
