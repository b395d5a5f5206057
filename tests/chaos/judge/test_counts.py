"""Rows that count: what attempts, pauses, tokens and a record's life must be. Each turns to NO, and not too soon."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tandem.shared.jobs.model import Status, Usage
from tests.chaos.judge import attempts, costs, failures, health, pauses
from tests.chaos.judge.evidence import Case, Facts, Ttl
from tests.chaos.judge.made_up import AT, LLM, case, deed, facts, job, mail, request, submission
from tests.chaos.judge.spans import Spans
from tests.chaos.judge.wrong_facts import TWICE, Judge, again, failed, faults, hit, noted, wish

OTHER = "llm-worker-2-0009"
WEEK = 7 * 86_400.0
AWAY = Spans([(AT + 1.1, AT + 1.4)])


def fault(number: int, kind: str, at: float, **more: Any) -> Any:
    """A faulty answer of 0.2 s."""
    return request(number, 1, fault=kind, came=AT + at, ended=AT + at + 0.2, taken=False, tokens=0, **more)


def answered(*faulty: Any, then: float = 2.0, entries: Iterable[tuple[str, float]] = (), **more: Any) -> Case:
    """A chat with these faulty answers, and a good one; with failed attempts of these types and times."""
    good = request(9, 1, came=AT + then, ended=AT + then + 0.2)
    return case(1, "chat", requests=[*faulty, good], job=again(*entries, number=9), **more)


def busy(retry_after: float, asked: float, **more: Any) -> Facts:
    """A 429 that ended at 1.2 s, and another worker's request of another job at `asked`."""
    limited = fault(1, "limited", 1, retry_after=retry_after)
    return facts(
        answered(limited, then=20), case(2, "chat", requests=[request(2, 2, came=AT + asked, asker=OTHER)]), **more
    )


def spent(requests: int, tokens: int, estimated: int = 0, **more: Any) -> Case:
    """A chat that says so much was used; the provider says one request and ten tokens."""
    usage = Usage(requests=requests, output_tokens=tokens, estimated_tokens=estimated)
    return case(1, "chat", job=job(1, "chat", result={"text": "answer 1 to job-1-1."}, usage=usage), **more)


def used(requests: int, *entries: tuple[str, float]) -> Any:
    """Say what a chat has cost that succeeded after these failed attempts."""
    return again(*entries, number=2, usage=Usage(requests=requests, output_tokens=10))


def kept(days: float, **more: Any) -> Case:
    """A job that ended at 2 s and, looked at at 5 s, has as many days left since its end."""
    return case(1, "chat", ttl=Ttl(AT + 5, 86_400 * days - 3), **more)


ERROR, GARBAGE = fault(1, "error", 1), fault(2, "garbage", 4)
PARKED = [fault(1, "limited", 1, retry_after=0.2), fault(2, "unavailable", 2)]  # and who tried it found it down
CRASH = {"type": "crash_loop", "message": "it killed its process"}


def poison(error: dict[str, str] | None) -> Case:
    """A poison job that failed."""
    planned = submission(1, "async_trouble", poison=True)
    return case(1, "async_trouble", planned=planned, job=job(1, "x", status=Status.FAILED, error=error))


def gave_up(type_: str, **more: Any) -> Case:
    """A chat that failed like this after five faulty answers."""
    error = {"type": type_, "message": "the provider said 500"}
    requests = [fault(number, "error", 2 * number) for number in range(1, 6)]
    return case(1, "chat", requests=requests, job=failed("chat", type_, **{"error": error, **more}))


WRONG: list[tuple[Judge, str, Facts]] = [
    (attempts.caused, "no cause", facts(case(1, "chat", job=again(("provider_error", 1.2))))),
    (
        attempts.caused,
        "a crash of a restart",
        facts(case(1, "chat", job=again(("worker_crash", 9)), hits=[hit("SIGTERM", 2)])),
    ),
    (
        attempts.caused,
        "a crash before the hit",
        facts(case(1, "chat", job=again(("worker_crash", 3)), hits=[hit("SIGKILL", 9)])),
    ),
    (attempts.caused, "long after", facts(case(1, "chat", job=again(("provider_error", 40)), requests=TWICE))),
    (
        attempts.caused,
        "a 429",
        facts(case(1, "chat", job=again(("x", 1.2)), requests=[request(1, 1, fault="limited")])),
    ),
    (attempts.caused, "burnt without an entry", facts(case(1, "chat", job=job(1, "chat", attempt=2)))),
    (
        attempts.caused,
        "one hit, two crashes",
        facts(case(1, "chat", job=again(("worker_crash", 7), ("worker_crash", 8)), hits=[hit("SIGKILL", 1)])),
    ),
    (attempts.counted, "a 500 cost nothing", facts(answered(ERROR))),
    (
        attempts.counted,
        "long after a 429",
        facts(
            answered(fault(4, "error", 5), then=9),
            requests=[*PARKED, request(3, 1, came=AT + 3, ended=AT + 4), fault(4, "error", 5)],
        ),
    ),
    (attempts.counted, "one of two", facts(answered(ERROR, GARBAGE, then=9, entries=[("x", 1.3)]))),
    (
        attempts.counted,
        "a busy mail server",
        facts(case(1, "email", mails=[mail(1, answer="4xx"), mail(1, at=AT + 9)])),
    ),
    (attempts.counted, "another worker was hit", facts(answered(ERROR, hits=[hit("SIGKILL", 1.1, target=OTHER)]))),
    (attempts.counted, "a crash is another one", facts(answered(ERROR, entries=[("worker_crash", 1.3)]))),
    (attempts.counted, "too many", facts(case(1, "chat", job=again(*[("x", 3.0 * number) for number in range(6)])))),
    (attempts.counted, "also after a retry", facts(noted(answered(fault(1, "error", 4), then=9), retry=wish(3, 202)))),
    (failures.told, "no error", facts(gave_up("x", error=None))),
    (failures.told, "no message", facts(gave_up("x", error={"type": "provider_unavailable"}))),
    (failures.told, "another type", facts(gave_up("smtp_busy"))),
    (failures.told, "of a poison", facts(poison(None))),
    (pauses.retried, "at once", facts(answered(ERROR, then=1.3, entries=[("x", 1.2)]))),
    (pauses.retried, "no longer than before", facts(answered(ERROR, GARBAGE, then=4.9))),
    (pauses.retried, "before Retry-After", facts(answered(fault(1, "limited", 1, retry_after=3), then=3))),
    (pauses.retried, "a mail", facts(case(1, "email", mails=[mail(1, answer="4xx"), mail(1, at=AT + 2)]))),
    (pauses.parked, "asked by another", busy(5, asked=4)),
    (costs.usage, "twice", facts(spent(2, 20))),
    (costs.usage, "too many tokens", facts(spent(1, 11))),
    (costs.usage, "too few tokens", facts(spent(1, 9))),
    (costs.usage, "nothing", facts(spent(0, 0))),
    (costs.usage, "too few tokens though it was cancelled long after", facts(noted(spent(1, 9), cancel=wish(9)))),
    (costs.usage, "more tokens though it was hit", facts(spent(2, 20, hits=[hit("SIGTERM", 4)]))),
    (costs.usage, "more though its worker was killed", facts(spent(2, 10, hits=[hit("SIGKILL", 4)]))),
    (costs.usage, "more though its request was read", facts(spent(2, 10, hits=[hit("SIGTERM", 1.1)]))),
    (costs.usage, "two more of one hit", facts(spent(3, 10, hits=[hit("SIGTERM", 4)]))),
    (costs.usage, "more of a failed attempt", facts(case(1, "chat", job=used(3, ("x", 1.3)), requests=TWICE))),
    (costs.usage, "Redis was away before", facts(spent(2, 10), outages=Spans([(AT - 9, AT - 5)]))),
    (health.kept, "ten minutes", facts(kept(0.007))),
    (health.kept, "no time to live", facts(case(1, "chat", ttl=Ttl(AT + 5, -0.001)))),
    (health.kept, "for a year", facts(kept(365))),
]

RIGHT: list[tuple[Judge, str, Facts]] = [
    (attempts.caused, "a faulty answer", facts(case(1, "chat", job=again(("provider_error", 1.3)), requests=TWICE))),
    (attempts.caused, "a kill", facts(case(1, "chat", job=again(("worker_crash", 7.6)), hits=[hit("SIGKILL", 1.5)]))),
    (attempts.counted, "each has its entry", facts(answered(ERROR, GARBAGE, then=9, entries=[("x", 1.3), ("y", 4.3)]))),
    (attempts.counted, "its worker was killed", facts(answered(ERROR, hits=[hit("SIGKILL", 1.1, target=LLM)]))),
    (attempts.counted, "Redis was away", facts(answered(ERROR), outages=AWAY)),
    (attempts.counted, "before a retry", facts(noted(answered(ERROR, then=9), retry=wish(3, 202)))),
    (attempts.counted, "a limit", facts(answered(fault(1, "limited", 1)))),
    (
        attempts.counted,
        "nobody had a good answer since a 429",
        facts(answered(fault(4, "error", 5), then=9), requests=[*PARKED, fault(4, "error", 5)]),
    ),
    (
        attempts.counted,
        "the model was down for all",
        facts(answered(ERROR), requests=[replace(ERROR, marker=f"job-1-{number}.") for number in range(3)]),
    ),
    (failures.told, "as it was", facts(gave_up("provider_unavailable"))),
    (failures.told, "a poison", facts(poison(CRASH))),
    (pauses.retried, "the back-off", facts(answered(ERROR, GARBAGE, then=5.3))),
    (pauses.retried, "it was run again", facts(noted(answered(ERROR, then=1.3), retry=wish(1.25, 202)))),
    (pauses.retried, "its worker was killed", facts(answered(ERROR, then=1.3, hits=[hit("SIGKILL", 1.1)]))),
    (pauses.retried, "Retry-After", facts(answered(fault(1, "limited", 1, retry_after=0.2), then=1.5))),
    (pauses.parked, "it was on its way", busy(5, asked=1.5)),
    (pauses.parked, "later", busy(5, asked=6.3)),
    (
        pauses.parked,
        "it had been stopped",
        busy(5, asked=4, deeds=[deed("SIGSTOP", target=OTHER, began=1, ended=AT + 3.9)]),
    ),
    (pauses.parked, "who got it was killed", busy(5, asked=4, deeds=[deed("SIGKILL", began=1.1)])),
    (costs.usage, "as the provider says", facts(spent(1, 10))),
    (costs.usage, "what was estimated stands apart", facts(spent(1, 17, estimated=7))),
    (costs.usage, "told to stop, and unread", facts(spent(2, 10, hits=[hit("SIGTERM", 4)]))),
    (costs.usage, "suspended, and unread", facts(spent(2, 10, hits=[hit("SIGSTOP", 4, ended=AT + 13)]))),
    (costs.usage, "cancelled as its answer came", facts(noted(spent(1, 0), cancel=wish(1.1)))),
    (costs.usage, "cancelled, and unread", facts(noted(spent(2, 10), cancel=wish(4)))),
    (costs.usage, "starved, and unread", facts(case(1, "chat", job=used(2, ("worker_crash", 8))))),
    (costs.usage, "Redis was away", facts(spent(2, 10), outages=AWAY)),
    (costs.usage, "a run was lost", facts(spent(0, 0, hits=[hit("SIGKILL", 1.1)]))),
    (health.kept, "a week", facts(kept(7))),
    (
        health.kept,
        "its webhook is not delivered yet",
        facts(case(1, "chat", planned=submission(1, "chat", query={"webhook_url": "x"}), ttl=Ttl(AT + 5, -0.001))),
    ),
    (health.kept, "since its webhook was delivered", facts(case(1, "chat", ttl=Ttl(AT + 50, WEEK)))),
]


@pytest.mark.parametrize(
    ("row", "found"), [pytest.param(row, found, id=f"{row.__name__}: {why}") for row, why, found in WRONG]
)
def test_what_is_wrong_is_noticed(row: Judge, found: Facts) -> None:
    assert faults(row, found)


@pytest.mark.parametrize(
    ("row", "found"), [pytest.param(row, found, id=f"{row.__name__}: {why}") for row, why, found in RIGHT]
)
def test_what_has_a_cause_is_right(row: Judge, found: Facts) -> None:
    assert not faults(row, found)


ROWS: list[Judge] = list(dict.fromkeys(row for row, _, _ in WRONG))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_jobs_that_went_well_are_right(row: Judge) -> None:
    well = [spent(1, 10), *(case(number, task) for number, task in ((2, "report"), (3, "email"), (4, "journal")))]
    assert not faults(row, facts(*well))
