"""Schedules and the clock on a real job book."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tandem.shared.config.file import Config, Schedule
from tandem.shared.config.settings import Settings
from tandem.shared.jobs.model import Status
from tandem.shared.maintenance.clock import step
from tandem.shared.maintenance.faults import Faults
from tandem.shared.maintenance.schedules import Schedules, latest, with_cleanup
from tandem.shared.store import leases, listing
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.listing import Filter
from tandem.shared.tasks.registry import load
from tests.support.jobs import TASKS, both, claim, get, put
from tests.support.processes import running, until

HOURLY = Schedule(name="hourly", task="cleanup", cron="0 * * * *", input={"older_than": "1d"})
BERLIN = "Europe/Berlin"


def schedules(book: Book, tmp_path: Path, *which: Schedule) -> Schedules:
    settings = Settings(_env_file=None, run_dir=tmp_path, config=Config(schedules=which))
    return Schedules(settings, book, load(), Faults(book))


def served(book: Book, name: str, ago: timedelta) -> None:
    book.client.set(Key.SCHEDULE + name, (datetime.now(UTC) - ago).isoformat())


def jobs(book: Book) -> list[str]:
    return book.run(listing.page(Filter(), limit=100)).ids


def test_a_new_schedule_does_not_look_back(book: Book, tmp_path: Path) -> None:
    clock = schedules(book, tmp_path, HOURLY)
    assert (clock.step(), clock.step()) == (0, 0)
    assert jobs(book) == []


def test_a_due_time_is_submitted_once_whoever_asks(book: Book, tmp_path: Path) -> None:
    every = Schedule(name="often", task="score", cron="* * * * *", input={"text": "x"}, owner="ann")
    one, two = schedules(book, tmp_path, every), schedules(book, tmp_path, every)
    served(book, "often", timedelta(seconds=61))
    served(book, "daily-cleanup", timedelta(seconds=0))
    one.step()
    served(book, "often", timedelta(seconds=61))  # the second clock has not seen the first one's note yet
    two.step()
    [job_id] = {job_id[:20] for job_id in jobs(book)}  # a minute may pass between the two: then it is another job
    assert job_id.startswith("often-")
    assert get(book, jobs(book)[0]).owner == "ann"
    assert [lease.id for lease in claim(book)] == sorted(jobs(book))


OFTEN = """
[[schedules]]
name = "often"
task = "score"
cron = "* * * * *"
owner = "ann"
input = {text = "x"}
"""


@pytest.mark.slow
def test_two_clocks_submit_a_due_time_once(book: Book, valkey: str, tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text(OFTEN)
    env = {"REDIS_URL": valkey, "RUN_DIR": str(tmp_path), "TANDEM_CONFIG": str(tmp_path / "tandem.toml")}
    with ExitStack() as clocks:
        for number in range(2):
            log = tmp_path / f"{number}.log"
            clocks.enter_context(running("tandem.shared.maintenance", env=env, log=log, says="ready"))
        for _ in range(5):
            served(book, "often", timedelta(seconds=61))
            note = book.client.get(Key.SCHEDULE + "often")
            until(lambda: book.client.get(Key.SCHEDULE + "often") != note, what="a clock's note")  # noqa: B023 - called here
    submitted = jobs(book)
    assert 1 <= len(submitted) <= 2, "a minute may have passed meanwhile"
    assert sorted(lease.id for lease in claim(book)) == sorted(submitted)


@pytest.mark.parametrize(("missed", "expected"), [("skip", 0), ("once", 1)])
def test_missed_times(book: Book, tmp_path: Path, missed: str, expected: int) -> None:
    now = datetime.now(UTC)
    past = now - timedelta(hours=2)  # its minute came once since then, and not within the last ten minutes
    cron = f"{(past + timedelta(minutes=10)).minute} {(past + timedelta(minutes=10)).hour} * * *"
    schedule = HOURLY.model_copy(update={"cron": cron, "missed": missed})
    served(book, "hourly", timedelta(hours=2))
    clock = schedules(book, tmp_path, schedule)
    assert clock.step() == expected
    assert clock.step() == 0
    assert len(jobs(book)) == expected


def test_a_time_zone_moves_the_hour() -> None:
    schedule = Schedule(name="z", task="cleanup", cron="0 9 * * *", timezone=BERLIN, input={"older_than": "1d"})
    summer = latest(schedule, after=datetime(2026, 7, 1, tzinfo=UTC), until=datetime(2026, 7, 1, 12, tzinfo=UTC))
    winter = latest(schedule, after=datetime(2026, 12, 1, tzinfo=UTC), until=datetime(2026, 12, 1, 12, tzinfo=UTC))
    assert summer == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert winter == datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)])
def test_an_hour_that_is_left_out_or_comes_twice_is_served_once_a_day(day: datetime) -> None:
    """02:30 does not exist on 29 March, and exists twice on 25 October."""
    schedule = Schedule(name="z", task="cleanup", cron="30 2 * * *", timezone=BERLIN, input={"older_than": "1d"})
    steps = [day + timedelta(minutes=10 * step) for step in range(3 * 24 * 6)]
    served = [due for before, now in pairwise(steps) if (due := latest(schedule, after=before, until=now))]
    assert [due.astimezone(schedule.zone).date().day - day.day for due in served] == [0, 1, 2]


def test_cleanup_is_scheduled_unless_it_is_declared() -> None:
    [cleanup] = with_cleanup([], timedelta(days=3))
    assert (cleanup.task, cleanup.input["older_than"]) == ("cleanup", "259200s")
    assert with_cleanup([HOURLY], timedelta(days=3)) == [HOURLY]


def test_a_full_queue_only_delays_a_schedule(book: Book, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, run_dir=tmp_path, queue_max=1, config=Config(schedules=(HOURLY,)))
    clock = Schedules(settings, book, load(), Faults(book))
    put(book, "email")
    now = datetime.now(UTC)
    often = HOURLY.model_copy(update={"cron": f"{now.minute} * * * *", "missed": "once"})
    clock._schedules = [often]
    served(book, "hourly", timedelta(minutes=30))
    assert clock.step() == 0
    claim(book, "sync")
    assert clock.step() == 1


@both
def test_what_no_list_leads_to_is_put_back(book: Book, tmp_path: Path, queue: str) -> None:
    settings = Settings(_env_file=None, run_dir=tmp_path)
    waiting, running = put(book, TASKS[queue]), put(book, TASKS[queue], priority="high")
    later = put(book, TASKS[queue], delay=timedelta(hours=1))
    [lease] = [lease for lease in claim(book, queue) if lease.id == running]
    for lost in (waiting, running, later):
        book.client.hset(Key.JOB + lost, "status", "queued" if lost == waiting else get(book, lost).status)
        book.client.hset(Key.JOB + lost, "ready_at", "1000")
    lists = (
        "arq:queue",
        "arq:queue:high",
        "tandem:leases:llm",
        "tandem:waiting:sync",
        "tandem:lane:jobs:normal:ann:~sync",
        "rq:wip:sync-high",
        "rq:scheduled:sync",
    )
    book.client.delete(*lists)
    step(settings, book, Faults(book))
    listed = {key for key in book.client.scan_iter("*") if key.decode() in lists}
    assert listed
    assert get(book, running).status is Status.RUNNING
    assert book.run(leases.renew(queue, [lease], worker="w")) == []
    ids = {lease.id for _ in range(3) for lease in claim(book, queue)}
    assert waiting in ids


def test_what_a_schedule_submits_has_the_greatest_age(book: Book, tmp_path: Path) -> None:
    clock = schedules(book, tmp_path, HOURLY.model_copy(update={"missed": "once"}))
    served(book, "hourly", timedelta(minutes=61))
    clock.step()
    [job_id] = [job_id for job_id in jobs(book) if job_id.startswith("hourly")]
    created, end = book.client.hmget(f"tandem:job:{job_id}", ["created_at", "give_up_at"])  # type: ignore[misc]
    assert int(end) - int(created) == timedelta(hours=24) // timedelta(milliseconds=1)
