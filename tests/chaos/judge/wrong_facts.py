"""What is wrong, as made-up facts: one entry for each kind, with the row that must notice it."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Status
from tests.chaos.judge import ends, health, outputs, recovery, results, streams, work
from tests.chaos.judge.evidence import Case, Facts, Hit
from tests.chaos.judge.made_up import (
    AT,
    call,
    case,
    deed,
    facts,
    job,
    mail,
    request,
    run,
    shown,
    submission,
    told,
)
from tests.chaos.outside.records import Deed, StoredFile, Wish
from tests.chaos.row import Row

Judge = Callable[[Facts], Row | Iterable[Row]]


def faults(row: Judge, found: Facts) -> list[str]:
    """Judge, and give what is wrong."""
    rows = row(found)
    return [fault for each in ([rows] if isinstance(rows, Row) else rows) for fault in each.faults]


def hit(kind: str, at: float, **more: Any) -> Hit:
    done = deed(kind, began=at, **more)
    return Hit(done, done.began)


def wish(at: float, status: int = 200, **more: Any) -> Wish:
    return Wish(sent=AT + at, answered=AT + at + 0.1, status=status, **more)


def planned(task: str = "chat", number: int = 1, **query: str) -> Any:
    return submission(number, task, query=query)


def noted(found: Case, **notes: Any) -> Case:
    for name, value in notes.items():
        setattr(found.notes, name, value)
    return found


def failed(task: str, type_: str, *, entries: Iterable[tuple[str, float]] = (), **more: Any) -> Any:
    attempts = [{"type": kind, "at": f"2026-01-01T00:00:{at:06.3f}Z"} for kind, at in entries]
    kept = {"status": Status.FAILED, "error": {"type": type_}, "attempts": attempts, **more}
    return job(1, task, **kept)


def again(*entries: tuple[str, float], task: str = "chat", number: int = 1, **more: Any) -> Any:
    """A job that has succeeded after attempts that failed."""
    attempts = [{"type": kind, "at": f"2026-01-01T00:00:{at:06.3f}Z"} for kind, at in entries]
    kept = {"attempt": 1 + len(attempts), "attempts": attempts, "result": {"text": f"answer {number} to job-1-1."}}
    return job(1, task, **{**kept, **more})


FILE = StoredFile(key="ann/id-1/9/y.pdf", job="id-1", at=AT + 1, sha256="abc")
BROKEN = [request(number, 1, fault="error", taken=False) for number in range(1, 6)]
TWICE = [request(1, 1, fault="error", came=AT + 1, ended=AT + 1.2, taken=False), request(2, 1, came=AT + 3)]
KILLED = [request(1, 1, ended=AT + 1.5, taken=False), request(2, 1, came=AT + 8, asker="llm-worker-2-0007")]
ROLLBACK = Deed(kind="rollback", role="redis", began=AT, ended=AT + 1)

# The row, what is wrong, and the facts.
WRONG: list[tuple[Judge, str, Facts]] = [
    (ends.finished, "lost", facts(case(1, "chat", job=None))),
    (ends.finished, "never accepted", facts(refused=["job-1-7."])),
    (ends.finished, "unfinished", facts(case(1, "chat", job=job(1, "chat", status=Status.RUNNING)))),
    (ends.finished, "not listed", facts(case(1, "chat"), listed=frozenset())),
    (ends.finished, "from nowhere", facts(case(1, "chat"), listed=frozenset({"id-1", "id-2"}))),
    (ends.finished, "a stray mail", facts(strays=["a mail of nobody"])),
    (ends.finished, "the driver gave up", facts(case(1, "chat"), ended=False)),
    (ends.outcomes, "not asked", facts(case(1, "chat", job=failed("chat", "provider_unavailable"), requests=[]))),
    (ends.outcomes, "too few", facts(case(1, "chat", job=failed("chat", "provider_error"), requests=BROKEN[1:]))),
    (
        ends.outcomes,
        "by hits",
        facts(case(1, "chat", job=failed("chat", "x"), hits=[hit("SIGKILL", n) for n in range(9)])),
    ),
    (ends.outcomes, "a mail", facts(case(1, "email", job=failed("email", "smtp_error", max_attempts=8)))),
    (ends.outcomes, "cancelled by nobody", facts(case(1, "chat", job=job(1, "chat", status=Status.CANCELLED)))),
    (
        ends.outcomes,
        "cancelled though it was run again",
        facts(noted(case(1, "chat", job=job(1, "chat", status=Status.CANCELLED)), cancel=wish(1), retry=wish(2, 202))),
    ),
    (ends.outcomes, "expired without expiry", facts(case(1, "chat", job=job(1, "chat", status=Status.EXPIRED)))),
    (ends.ended_once, "no end", facts(case(1, "chat", events=[]))),
    (ends.ended_once, "two ends", facts(case(1, "chat", events=[Event(1, Kind.END, ""), Event(2, Kind.END, "")]))),
    (ends.poisons, "not fenced", facts(case(1, "async_trouble", planned=submission(1, "async_trouble", poison=True)))),
    (ends.poisons, "a neighbour", facts(case(1, "chat", job=failed("chat", "crash_loop")))),
    (work.requests, "asked twice in peace", facts(case(1, "chat", requests=[request(1, 1), request(2, 1)]))),
    (
        work.requests,
        "after a short stop",
        facts(case(1, "chat", requests=[request(1, 1), request(2, 1)], hits=[hit("SIGSTOP", 1)])),
    ),
    (work.requests, "never asked", facts(case(1, "chat", requests=[]))),
    (work.requests, "no answer taken", facts(case(1, "chat", requests=[request(1, 1, taken=False)]))),
    (work.runs, "ran twice in peace", facts(case(1, "journal", runs=[run(1, token="a"), run(1, token="b")]))),
    (work.runs, "no run ended", facts(case(1, "journal", runs=[run(1, token="a", ended=None)]))),
    (results.llm_results, "another's", facts(case(1, "chat", job=again(number=7)))),
    (results.llm_results, "of a faulty answer", facts(case(1, "chat", job=again(number=1), requests=TWICE))),
    (
        results.llm_results,
        "of the run before",
        facts(case(1, "chat", job=again(number=1), requests=[KILLED[0], KILLED[1]], hits=[hit("SIGKILL", 1.5)])),
    ),
    (results.llm_results, "of before the attempt", facts(case(1, "chat", requests=[request(1, 1, came=AT + 0.2)]))),
    (results.sync_results, "no file", facts(case(1, "report", files=[]))),
    (
        results.sync_results,
        "another file",
        facts(case(1, "report", files=[replace(case(1, "report").files[0], sha256="d")])),
    ),
    (results.sync_results, "without one", facts(case(1, "report", job=job(1, "report", result={})))),
    (results.sync_results, "another mail", facts(case(1, "email", mails=[mail(1, message_id="<x>")]))),
    (results.sync_results, "not taken", facts(case(1, "email", mails=[mail(1, answer="cut")]))),
    (results.sync_results, "another token", facts(case(1, "journal", runs=[run(1, token="b")]))),
    (
        results.sync_results,
        "the token of an earlier run",
        facts(case(1, "journal", runs=[run(1, token="a"), run(1, token="b", began=AT + 5, ended=AT + 6)])),
    ),
    (results.stays, "changed", facts(noted(case(1, "chat"), shown=[shown("succeeded", {"text": "other"})]))),
    (results.stays, "another end", facts(noted(case(1, "chat"), shown=[shown("failed")]))),
    (streams.streams, "gap", facts(noted(case(1, "chat"), told=told(1, 3)))),
    (streams.streams, "repeat", facts(noted(case(1, "chat"), told=told(1, 1, 2)))),
    (streams.streams, "no end", facts(noted(case(1, "chat"), told=told(1, 2, end=False)))),
    (streams.streams, "nothing", facts(noted(case(1, "chat"), watched=True))),
    (
        streams.streams,
        "other words",
        facts(noted(case(1, "chat", events=[Event(1, Kind.DELTA, "x")]), told=told(1, 2))),
    ),
    (outputs.mails, "nothing sent", facts(case(1, "email", mails=[mail(1, answer="cut")]))),
    (outputs.mails, "two ids", facts(case(1, "email", mails=[mail(1, answer="lost"), mail(1, message_id="<y>")]))),
    (
        outputs.mails,
        "of two jobs with one key, and Redis lost nothing",
        facts(noted(case(1, "email", mails=[mail(1), mail(1, message_id="<y>")]), ids={"id-1", "id-2"})),
    ),
    (outputs.mails, "twice in peace", facts(case(1, "email", mails=[mail(1), mail(1)]))),
    (outputs.files, "without a file", facts(case(1, "report"))),
    (
        outputs.files,
        "a file left",
        facts(case(1, "report", files=[FILE], hits=[hit("SIGKILL", 1)]), files_left=[FILE.key, "ann/id-1/1/x.pdf"]),
    ),
    (
        outputs.files,
        "of two jobs with one key, and Redis lost nothing",
        facts(noted(case(1, "report", job=None, files=[FILE]), ids={"id-0", "id-1"}), files_left=[FILE.key]),
    ),
    (outputs.files, "two in peace", facts(case(1, "report", files=[FILE]), files_left=["ann/id-1/1/x.pdf"])),
    (outputs.webhooks, "no call", facts(case(1, "chat", planned=planned(webhook_url="x")))),
    (
        outputs.webhooks,
        "not taken",
        facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, answer=500)])),
    ),
    (
        outputs.webhooks,
        "another end",
        facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, event="job.failed")])),
    ),
    (
        outputs.webhooks,
        "again after 2xx",
        facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1), call(1, at=AT + 9)])),
    ),
    (
        outputs.webhooks,
        "two ids",
        facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1), call(1, id="msg_id-1-2")])),
    ),
    (outputs.schedules, "missed", facts(schedules={"s": [AT]})),
    (outputs.schedules, "not due", facts(schedules={"s": []}, scheduled=[run(1, token="a")])),
    (
        outputs.schedules,
        "twice",
        facts(
            schedules={"s": [AT]},
            scheduled=[replace(run(1, token=token), job="s-20260101T000000Z") for token in "ab"],
        ),
    ),
    (health.orderly, "a problem", facts(keyspace=["x has no owner"])),
    (health.done, "not done", facts(planned_deeds=Counter([("SIGKILL", "clock")]))),
    (
        health.done,
        "three of five",
        facts(
            deeds=[deed("SIGKILL", "clock", began=at) for at in range(3)],
            planned_deeds=Counter({("SIGKILL", "clock"): 5}),
        ),
    ),
    (health.shared, "nobody was there", facts(planned_deeds=Counter([("disk full", "disk")]))),
    (
        recovery.recovery,
        "slow",
        facts(
            case(1, "chat", requests=[KILLED[0], request(2, 1, came=AT + 12, asker="y")], hits=[hit("SIGKILL", 1.5)]),
            planned_deeds=Counter([("SIGKILL", "llm worker")]),
        ),
    ),
]
