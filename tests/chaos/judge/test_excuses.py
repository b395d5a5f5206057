"""What excuses a fault, and what does not: each excuse is as narrow as its reason."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Status
from tests.chaos.judge import attempts, ends, health, lateness, limits, outputs, streams, wishes, work
from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.judge.hits import strike
from tests.chaos.judge.made_up import AT, LLM, SYNC, call, case, deed, facts, job, request, run, submission, told
from tests.chaos.judge.spans import Spans
from tests.chaos.judge.wrong_facts import ROLLBACK, Judge, failed, faults, hit, noted, planned, wish
from tests.chaos.load.probes import Picks
from tests.chaos.outside.records import Deed
from tests.chaos.plan.model import Limit

DUE = "s-20260101T000000Z"
SLOW = replace(planned(), body={"text": "job-1-1. slow"})
LOST = Deed(kind="rollback", role="redis", began=AT + 20, ended=AT + 21)


def due(*tokens: str, next_due: float = 60, deeds: Sequence[Deed] = ()) -> Facts:
    """Two due times, of which the second one ran, and the first one in so many runs."""
    runs = [replace(run(1, token=token), job=DUE) for token in tokens]
    later = replace(run(1, token="z", began=AT + next_due), job="s-20260101T000100Z")
    return facts(schedules={"s": [AT, AT + 60]}, scheduled=[*runs, later], deeds=deeds)


def delivered(*at: float, answer: int = 204) -> Case:
    """A webhook that was called then; the last call was answered like this."""
    calls = [call(1, at=AT + moment) for moment in at]
    return case(1, "chat", planned=planned(webhook_url="x"), calls=[*calls[:-1], replace(calls[-1], answer=answer)])


def restarted(ended: float, *, slow: bool = True, **more: Any) -> Case:
    """A chat whose worker was told to stop 0.5 s after its request came, which ended at `ended`, and one more."""
    first = request(1, 1, ended=AT + ended, taken=False)
    requests = [first, request(2, 1, came=AT + 9, ended=AT + 17, asker="llm-worker-1-0009")]
    own = {"planned": SLOW} if slow else {}
    return case(1, "chat", **{"requests": requests, "hits": [hit("SIGTERM", 1.5, target=LLM)], **own, **more})


def expiring(began: float) -> Facts:
    """A chat of a model with a limit that might begin within a second, and began then."""
    body = submission(1, "chat", query={"expires_in": "1"})
    return facts(case(1, "chat", planned=body, requests=[request(1, 1, came=AT + began)]), limits={"m": Limit(rpm=60)})


def full_disk(*at: float) -> Facts:
    """A report that failed at these times; the disk was full from 10 s to 12 s."""
    entries = [("x", moment) for moment in at]
    kept = failed("report", "storage", entries=entries, max_attempts=3)
    return facts(case(1, "report", job=kept), deeds=[deed("disk full", "disk", began=10, ended=AT + 12)])


def stopped(*ends: float) -> Facts:
    """Fourteen requests in 8 s of a model with 60 a minute; a worker was stopped until each of these times."""
    cases = []
    for number in range(14):
        came = AT + 20 + number * 0.6
        cases.append(case(number, "chat", requests=[request(number, number, came=came, ended=came + 0.1)]))
    deeds = [deed("SIGSTOP", began=10, ended=AT + end) for end in ends]
    return facts(*cases, limits={"m": Limit(rpm=60)}, deeds=deeds)


def picked(*ms: float) -> Facts:
    return facts(picks=Picks(ms={"llm": list(ms)}))


CONFLICT = noted(case(1, "chat"), conflict=202, other="id-9")
TEN = [1.0] * 36 + [150.0] * 4

WRONG: list[tuple[Judge, str, Facts]] = [
    (
        ends.finished,
        "another job than that of the other body",
        facts(CONFLICT, listed=frozenset({"id-1", "id-8"}), deeds=[ROLLBACK]),
    ),
    (ends.finished, "the other body made one in peace", facts(CONFLICT, listed=frozenset({"id-1", "id-9"}))),
    (ends.outcomes, "only one attempt met the full disk", full_disk(3, 11, 20)),
    (outputs.schedules, "an outage that was over", due(deeds=[deed("SIGSTOP", "clock", began=0, ended=AT + 9)])),
    (outputs.schedules, "twice, and a roll-back long after", due("a", "b", deeds=[LOST])),
    (outputs.schedules, "three times after one roll-back", due("a", "b", "c", deeds=[ROLLBACK])),
    (outputs.webhooks, "two repeats and one hit", facts(delivered(2.1, 9, 20), deeds=[deed("SIGKILL", began=2.2)])),
    (outputs.webhooks, "a repeat that failed is one", facts(delivered(2.1, 9, 20, answer=500))),
    (wishes.expiry, "waits for its limit for long", expiring(9)),
    (work.grace, "at once", facts(restarted(1.53))),
    (
        work.grace,
        "at once, and somebody else was hit",
        facts(restarted(1.53, hits=[hit("SIGTERM", 1.5), hit("SIGKILL", 2, target="x")])),
    ),
    (work.requests, "it would have ended", facts(restarted(1.53, slow=False))),
    (
        work.requests,
        "it had its answer",
        facts(restarted(1.7, requests=[request(1, 1, ended=AT + 1.7), request(2, 1, came=AT + 9)])),
    ),
    (limits.within, "nobody was stopped", stopped()),
    (limits.within, "the stop was over before", stopped(9)),
    (health.woken, "one of ten is found by a poll", picked(*TEN)),
]

RIGHT: list[tuple[Judge, str, Facts]] = [
    (
        ends.finished,
        "another body's job after a lost second",
        facts(CONFLICT, listed=frozenset({"id-1", "id-9"}), deeds=[ROLLBACK]),
    ),
    (ends.outcomes, "the disk was full each time", full_disk(10.1, 10.8, 12.3)),
    (outputs.schedules, "well", due("a")),
    (outputs.schedules, "an outage until the next", due(deeds=[deed("partition", "network", began=-1, ended=AT + 62)])),
    (outputs.schedules, "twice after a roll-back over it", due("a", "b", deeds=[ROLLBACK])),
    (
        outputs.webhooks,
        "two repeats, two hits",
        facts(delivered(2.1, 9, 20), deeds=[deed("SIGKILL", began=2.2), deed("SIGKILL", began=9.1)]),
    ),
    (wishes.expiry, "waits for its limit", expiring(3.5)),
    (work.grace, "after its time", facts(restarted(3.5))),
    (work.grace, "cancelled", facts(noted(restarted(1.7), cancel=wish(1.6)))),
    (work.grace, "killed as well", facts(restarted(1.7, hits=[hit("SIGTERM", 1.5), hit("SIGKILL", 1.6)]))),
    (work.requests, "after its time", facts(restarted(3.5))),
    (
        work.requests,
        "its answer came as its time was over",
        facts(restarted(3.4, requests=[request(1, 1, ended=AT + 3.4), request(2, 1, came=AT + 9)])),
    ),
    (limits.within, "two were stopped", stopped(21, 22)),
    (health.woken, "one of forty", picked(*[1.0] * 39, 150.0)),
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


def test_streamed_jobs_are_what_is_counted_of_streams() -> None:
    """However often others' connections were resumed."""
    watched = noted(case(1, "chat", events=[]), told=told(1, 2, 3, 4))
    assert streams.streams(facts(watched)).samples == 0
    events = [replace(event, kind=Kind.DELTA.value) if event.id < 4 else event for event in watched.notes.told]
    assert streams.streams(facts(noted(watched, told=events))).samples == 1


def test_a_fault_that_all_share_is_told_with_the_jobs_it_met() -> None:
    found = facts(case(1, "chat"), deeds=[ROLLBACK], planned_deeds={("rollback", "redis"): 1})
    row = health.shared(found)
    assert row.measured == "Redis rolled back by a second: 1 of 1.0 s, 1 jobs"
    assert (row.faults, row.met) == ([], False)  # one job is too few


@pytest.mark.parametrize(("began", "late"), [(19.0, False), (21.0, True), (2.0, True)])
def test_a_delayed_job_begins_after_those_that_were_there_before_it(began: float, late: bool) -> None:  # noqa: FBT001 - pytest's
    delayed = case(1, "chat", planned=planned(delay="2"), requests=[request(1, 1, came=AT + 20)])
    older = case(2, "chat", requests=[request(2, 2, came=AT + began)])
    assert bool(faults(lateness.begins, facts(delayed, older))) is late


@pytest.mark.parametrize(("priority", "late"), [("low", False), ("normal", True)])
def test_a_delayed_job_waits_for_those_of_its_priority(priority: str, late: bool) -> None:  # noqa: FBT001 - pytest's
    """For others it waits, too, but not for long: each priority has its turns."""
    delayed = case(1, "chat", planned=planned(delay="2", priority="low"), requests=[request(1, 1, came=AT + 20)])
    older = case(2, "chat", planned=submission(2, "chat", query={"priority": priority}))
    older.requests = [request(2, 2, came=AT + 19)]
    assert bool(faults(lateness.begins, facts(delayed, older))) is late


@pytest.mark.parametrize(("hits", "blamed"), [(6, False), (5, True)])
def test_who_lost_its_worker_too_often_is_given_up(hits: int, blamed: bool) -> None:  # noqa: FBT001 - pytest's
    for task in ("chat", "journal"):
        fenced = job(1, task, status=Status.FAILED, error={"type": "crash_loop"})
        lost = case(1, task, job=fenced, hits=[hit("SIGKILL", 1)] * hits)
        row = ends.poisons(facts(lost))
        assert bool(row.faults) is blamed
        assert bool(row.apart) is not blamed
        assert bool(faults(ends.outcomes, facts(lost))) is blamed


def test_a_run_whose_process_was_killed_is_hit_no_more() -> None:
    """Its worker may live on: what happens to that later is no matter of this job."""
    own = case(1, "journal", runs=[run(1, token="a", ended=None)])
    killed = deed("SIGKILL", "sync horse", began=5, target=SYNC)
    strike([own], [killed, deed("SIGTERM", "sync worker", began=20, target=SYNC)], Spans())
    assert [hit.deed for hit in own.hits] == [killed]


def test_a_clock_is_wrong_until_its_process_has_looked_again() -> None:
    jumped = facts(deeds=[deed("clock jump", "redis", began=10, ended=AT + 14)])
    assert jumped.jumps.touch(AT + 15, AT + 15)
    assert not jumped.jumps.touch(AT + 16, AT + 16)


def test_an_attempt_that_failed_while_redis_had_no_memory_is_written_down_after_it() -> None:
    broken = request(1, 1, ended=AT + 2, fault="error")
    entry = {"type": "provider_unavailable", "at": "2026-01-01T00:00:12Z"}
    own = case(1, "chat", requests=[broken, request(2, 1, came=AT + 14)])
    assert own.job is not None
    own.job = replace(own.job, attempts=[entry], attempt=2)
    assert faults(attempts.caused, facts(own))
    assert not faults(attempts.caused, facts(own, deeds=[deed("memory full", "redis", began=3, ended=AT + 11.5)]))


def test_what_waited_for_redis_is_written_when_it_is_back_and_may_be_lost_then() -> None:
    deeds = [deed("partition", "network", began=1, ended=AT + 20), replace(LOST, began=AT + 20.5, ended=AT + 21)]
    waited = case(1, "chat")
    assert facts(waited, deeds=deeds).unsettled(waited)
    assert not facts(waited, deeds=deeds[1:]).unsettled(waited)


def test_who_tries_a_model_that_was_busy_may_find_it_down() -> None:
    busy = request(1, 2, came=AT + 0.2, ended=AT + 0.5, fault="limited")
    broken = request(2, 1, came=AT + 1, ended=AT + 2, fault="error")
    own = case(1, "chat", requests=[broken, request(3, 1, came=AT + 4)])
    assert faults(attempts.counted, facts(own))
    assert not faults(attempts.counted, facts(own, case(2, "chat", requests=[busy]), requests=[busy, broken]))


def test_who_has_ended_and_waits_to_write_it_down_is_at_work() -> None:
    done, killed = case(1, "journal"), deed("SIGKILL", "sync horse", began=5, target=SYNC)
    strike([done], [killed], Spans())
    assert not done.hits
    strike([done], [killed], Spans([(AT + 1.9, AT + 5.2)]))
    assert [hit.deed for hit in done.hits] == [killed]


def test_a_retry_that_redis_has_lost_was_none() -> None:
    cancelled = case(1, "chat", job=job(1, "chat", status=Status.CANCELLED))
    noted(cancelled, cancel=wish(20), retry=wish(20.5, 202))
    assert faults(ends.outcomes, facts(cancelled))
    assert not faults(ends.outcomes, facts(cancelled, deeds=[LOST]))
