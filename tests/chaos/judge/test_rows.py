"""Each row turns to NO on each kind of wrong fact, and is content where nothing is wrong."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.judge import ends, lateness, limits, mails, outputs, recovery, results, streams, wishes, work
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import (
    AT,
    SYNC,
    call,
    case,
    deed,
    facts,
    mail,
    request,
    run,
    submission,
    told,
)
from tests.chaos.judge.spans import Spans
from tests.chaos.judge.wrong_facts import (
    BROKEN,
    FILE,
    KILLED,
    ROLLBACK,
    TWICE,
    WRONG,
    Judge,
    again,
    failed,
    faults,
    hit,
    noted,
    planned,
)
from tests.chaos.judge.wrong_outside import OUTSIDE, TOLD_RIGHT
from tests.chaos.judge.wrong_wishes import WRONG as WRONG_WISHES
from tests.chaos.plan.model import Limit
from tests.chaos.row import Row


@pytest.mark.parametrize(
    ("row", "found"),
    [pytest.param(row, found, id=f"{row.__name__}: {why}") for row, why, found in [*WRONG, *OUTSIDE, *WRONG_WISHES]],
)
def test_what_is_wrong_is_noticed(row: Judge, found: Facts) -> None:
    assert faults(row, found)


SLOW = replace(planned(), body={"text": "job-1-1. slow"})

RIGHT: list[tuple[Judge, str, Facts]] = [
    (ends.finished, "of a lost second", facts(case(1, "chat", job=None), deeds=[ROLLBACK])),
    (
        ends.outcomes,
        "five faulty answers",
        facts(case(1, "chat", job=failed("chat", "provider_error"), requests=BROKEN)),
    ),
    (
        ends.outcomes,
        "refused for good",
        facts(case(1, "email", job=failed("email", "x"), mails=[mail(1, answer="5xx")])),
    ),
    (work.requests, "a faulty answer", facts(case(1, "chat", requests=TWICE))),
    (work.requests, "a kill", facts(case(1, "chat", requests=KILLED, hits=[hit("SIGKILL", 1.5)]))),
    (
        work.requests,
        "a restart",
        facts(case(1, "chat", planned=SLOW, requests=KILLED, hits=[hit("SIGTERM", 1.5)])),
    ),
    (
        results.llm_results,
        "a fenced run's late request",
        facts(
            case(
                1,
                "chat",
                job=again(number=2),
                requests=[request(2, 1, came=AT + 8, asker="y"), request(3, 1, came=AT + 10.4)],
                hits=[hit("SIGSTOP", 1, ended=AT + 10)],
            )
        ),
    ),
    (streams.streams, "resumed", facts(noted(case(1, "chat", events=[]), told=told(1, 2, 3, 4)))),
    (wishes.delays, "in time", facts(case(1, "chat", planned=planned(delay="0.9")))),
    (lateness.begins, "in time", facts(case(1, "chat", planned=planned(run_at="0.9")))),
    (
        mails.remembered,
        "died before the marker",
        facts(case(1, "email", mails=[mail(1), mail(1, at=AT + 3)], hits=[hit("SIGKILL", 1.2, role="sync horse")])),
    ),
    (
        lateness.begins,
        "late by a hit",
        facts(
            case(
                1,
                "chat",
                planned=planned(delay="2"),
                requests=[request(1, 1, came=AT + 18)],
                hits=[hit("SIGKILL", 2.1)],
            )
        ),
    ),
    (
        lateness.begins,
        "Redis was away",
        facts(
            case(1, "chat", planned=planned(delay="2"), requests=[request(1, 1, came=AT + 18)]),
            outages=Spans([(AT + 2, AT + 8)]),
        ),
    ),
    (
        lateness.webhooks,
        "its sender was hit",
        facts(
            case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, at=AT + 33)]),
            deeds=[deed("SIGKILL", began=2.2)],
        ),
    ),
    (outputs.mails, "again after a lost answer", facts(case(1, "email", mails=[mail(1, answer="lost"), mail(1)]))),
    (outputs.mails, "again after a hit", facts(case(1, "email", mails=[mail(1), mail(1)], hits=[hit("SIGKILL", 1)]))),
    (
        outputs.mails,
        "Redis lost the job, and its key made another",
        facts(
            noted(case(1, "email", mails=[mail(1), mail(1, message_id="<y>")]), ids={"id-1", "id-2"}), deeds=[ROLLBACK]
        ),
    ),
    (
        outputs.files,
        "Redis lost the job, and its key made another",
        facts(
            noted(case(1, "report", job=None, files=[FILE]), ids={"id-0", "id-1"}),
            deeds=[ROLLBACK],
            files_left=[FILE.key],
        ),
    ),
    (outputs.files, "well", facts(case(1, "report"), files_left=["ann/id-1/1/x.pdf"])),
    (
        outputs.webhooks,
        "again after 500",
        facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, answer=500), call(1)])),
    ),
    (
        outputs.webhooks,
        "its sender was hit",
        facts(
            case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1), call(1, at=AT + 33)]),
            deeds=[deed("SIGKILL", began=2.2)],
        ),
    ),
    (
        recovery.recovery,
        "in time",
        facts(
            case(1, "chat", requests=KILLED, hits=[hit("SIGKILL", 1.5)]),
            planned_deeds=Counter([("SIGKILL", "llm worker")]),
        ),
    ),
    (
        recovery.recovery,
        "Redis was away",
        facts(
            case(1, "chat", requests=[KILLED[0], request(2, 1, came=AT + 12, asker="y")], hits=[hit("SIGKILL", 1.5)]),
            planned_deeds=Counter([("SIGKILL", "llm worker")]),
            outages=Spans([(AT + 4, AT + 9)]),
        ),
    ),
]


def sync_hit(role: str, busy: tuple[float, float] | None = None, **more: Any) -> Facts:
    """Make a journal job that was hit at 1.5 s and began again at 13 s; all sync workers were at work from, until."""
    other = "sync-worker-2-0009"
    runs = [run(1, token="a", ended=None), run(1, token="b", worker=other, began=AT + 13, ended=AT + 14)]
    found = case(1, "journal", runs=runs, hits=[hit("SIGKILL", 1.5, role=role, target=SYNC)])
    times = {"began": AT + busy[0], "ended": AT + busy[1]} if busy else {}
    work = [run(2, token=who, worker=who, **times) for who in ("sync-worker-1-0008", other) if busy]
    planned_deeds = Counter([("SIGKILL", role)])
    return facts(found, scheduled=work, planned_deeds=planned_deeds, slots={"sync worker": 2}, **more)


def _sync_row(found: Facts) -> Row:
    [row] = [row for row in recovery.recovery(found) if row.goal.startswith("sync")]
    return row


@pytest.mark.parametrize("role", ["sync worker", "sync supervisor"])
def test_what_waits_for_a_free_worker_is_taken_out_and_printed(role: str) -> None:
    assert faults(recovery.recovery, sync_hit(role)), "11.5 s, and workers were free"
    assert faults(recovery.recovery, sync_hit(role, (2, 7))), "its lease was not over: nobody was waited for"
    row = _sync_row(sync_hit(role, (8, 13)))
    assert not row.faults
    assert row.apart == "5 s of 1 hits in which Redis took nothing, no worker was free or others came first"


@pytest.mark.parametrize("kind", ["memory full", "partition"])
def test_what_waits_for_redis_is_taken_out_and_printed(kind: str) -> None:
    row = _sync_row(sync_hit("sync worker", deeds=[deed(kind, "redis", began=6, ended=AT + 10)]))
    assert not row.faults
    assert row.apart == "4 s of 1 hits in which Redis took nothing, no worker was free or others came first"


@pytest.mark.parametrize(("kind", "at", "counts"), [("x", 9.0, False), ("worker_crash", 9.0, True), ("x", 13.5, True)])
def test_a_run_that_failed_before_it_was_seen_is_no_sample(kind: str, at: float, *, counts: bool) -> None:
    found = sync_hit("sync worker")
    found.cases[0].job = again((kind, at), task="journal", result={"done": "b"})
    row = _sync_row(found)
    assert bool(row.faults) is counts
    assert row.apart == ("" if counts else "1 its next run failed, and left nothing outside")


def test_a_stop_of_redis_that_was_over_before_is_no_excuse() -> None:
    assert faults(recovery.recovery, sync_hit("sync worker", deeds=[deed("memory full", "redis", began=0)]))


@pytest.mark.parametrize(
    ("row", "found"),
    [pytest.param(row, found, id=f"{row.__name__}: {why}") for row, why, found in [*RIGHT, *TOLD_RIGHT]],
)
def test_what_has_a_cause_is_right(row: Judge, found: Facts) -> None:
    assert not faults(row, found)


ROWS: list[Judge] = list(dict.fromkeys(row for row, _, _ in [*WRONG, *WRONG_WISHES]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_jobs_that_went_well_are_right(row: Judge) -> None:
    tasks = ("chat", "report", "email", "journal")
    well = [case(number, task) for number, task in enumerate(tasks, start=1)]
    files = [file.key for found in well for file in found.files]
    assert not faults(row, facts(*well, files_left=files))


def test_a_row_without_enough_samples_is_not_met() -> None:
    row = results.stays(facts(case(1, "chat")))
    assert not row.faults
    assert not row.met
    assert row.wrong == ["too few: 0 of 8"]


def crowd(*, rate: float, high: float = 0.0, low: float = 0.0) -> Facts:
    """Forty seconds of jobs of one model with 60 RPM that asks `rate` times a second while others wait."""
    cases = []
    for number in range(400):
        urgent = number % 2
        found = case(number, "chat", planned=submission(number, "chat", query={"priority": ("low", "high")[urgent]}))
        came = AT + 1 + number / rate + (high if urgent else low)
        found.requests = [request(number, number, came=came, ended=came + 0.1)]
        cases.append(found)
    return facts(*cases, limits={"m": Limit(rpm=60)}, slots={"llm worker": 3})


def test_the_limit_is_an_upper_bound() -> None:
    assert not faults(limits.within, crowd(rate=1))
    assert faults(limits.within, crowd(rate=1.5))


def test_the_limit_is_used_while_work_waits() -> None:
    assert not faults(limits.used, crowd(rate=1))
    assert faults(limits.used, crowd(rate=0.8))


def test_tokens_are_limited_too() -> None:
    found = crowd(rate=1)
    assert not faults(limits.within, replace(found, limits={"m": Limit(rpm=600, tpm=600)}))
    assert faults(limits.within, replace(found, limits={"m": Limit(rpm=600, tpm=400)}))
    assert faults(limits.used, replace(found, limits={"m": Limit(rpm=600, tpm=900)}))


def test_high_goes_first() -> None:
    assert not faults(limits.priorities, crowd(rate=40, low=20))
    assert faults(limits.priorities, crowd(rate=40, low=2, high=20))
