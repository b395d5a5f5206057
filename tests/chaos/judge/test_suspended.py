"""What becomes of sync jobs whose worker is suspended, or hears nothing of Redis: they end with their lease."""

from collections import Counter
from dataclasses import replace

import pytest

from tandem.shared.jobs.model import Status
from tests.chaos.judge import recovery, wishes, work
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import AT, case, facts, job, run, submission
from tests.chaos.judge.wrong_facts import Judge, faults, hit, noted, wish
from tests.chaos.outside.records import Deed

STOP = hit("SIGSTOP", 1.5, role="sync worker", ended=AT + 9)  # it was ended, and its successor is ready
SHORT = hit("SIGSTOP", 1.5, role="sync worker", ended=AT + 5)
TWICE = [run(1, token="b", ended=None), run(1, token="a", began=AT + 8, ended=AT + 9, worker="sync-worker-2-0003")]
ENDED = [run(1, token="b"), TWICE[1]]
SILENCE = Deed(kind="partition", role="network", began=AT + 1.5, ended=AT + 7)
BRIEF = Deed(kind="partition", role="network", began=AT + 1.5, ended=AT + 4)
LATER = Deed(kind="SIGSTOP", role="redis", began=AT + 30, ended=AT + 36)
LONG = replace(submission(1, "journal"), body={"marker": "job-1-1.", "seconds": 8.0})


def cancelled(until: float) -> Facts:
    """A cancel while the worker is suspended; its horse works until so many seconds."""
    runs = [run(1, token="a", ended=AT + until)]
    found = case(1, "journal", runs=runs, job=job(1, "x", status=Status.CANCELLED), hits=[STOP])
    return facts(noted(found, cancel=wish(1.6)))


RIGHT: list[tuple[Judge, str, Facts]] = [
    (work.runs, "suspended", facts(case(1, "journal", runs=TWICE, hits=[STOP]))),
    (work.runs, "silence", facts(case(1, "journal", runs=TWICE, planned=LONG), deeds=[SILENCE])),
    (wishes.cancels, "suspended", cancelled(6.9)),
    (
        recovery.recovery,
        "suspended",
        facts(case(1, "journal", runs=TWICE, hits=[STOP]), planned_deeds=Counter([("SIGSTOP", "sync worker")])),
    ),
]
WRONG: list[tuple[Judge, str, Facts]] = [
    (work.runs, "not for so long", facts(case(1, "journal", runs=TWICE, hits=[SHORT]))),
    (work.runs, "a brief silence", facts(case(1, "journal", runs=TWICE, planned=LONG), deeds=[BRIEF])),
    (work.runs, "a later silence", facts(case(1, "journal", runs=TWICE, planned=LONG), deeds=[LATER])),
    (
        work.runs,
        "its run ended",
        facts(case(1, "journal", runs=ENDED, planned=LONG), deeds=[SILENCE]),
    ),
    (work.runs, "a third run", facts(case(1, "journal", runs=[TWICE[0], *TWICE], hits=[STOP]))),
    (wishes.cancels, "it outlived its lease", cancelled(9.9)),
]


@pytest.mark.parametrize(("row", "found"), [pytest.param(row, found, id=why) for row, why, found in RIGHT])
def test_what_ends_with_its_lease_is_right(row: Judge, found: Facts) -> None:
    assert not faults(row, found)


@pytest.mark.parametrize(("row", "found"), [pytest.param(row, found, id=why) for row, why, found in WRONG])
def test_what_does_not_is_wrong(row: Judge, found: Facts) -> None:
    assert faults(row, found)


def test_the_end_of_a_suspended_worker_is_timed() -> None:
    planned = Counter([("SIGSTOP", "sync worker")])
    rows = list(recovery.recovery(facts(case(1, "journal", runs=TWICE, hits=[STOP]), planned_deeds=planned)))
    assert [row.samples for row in rows if "sync worker SIGSTOP" in row.goal] == [1]
