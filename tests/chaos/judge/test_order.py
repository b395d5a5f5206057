"""Waiting jobs begin in the order in which they came, and what is handed back before them."""

from dataclasses import replace

import pytest

from tests.chaos.judge import order
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import AT, SYNC, case, deed, facts, request, run, submission
from tests.chaos.judge.wrong_facts import Judge, faults, hit


def queue(task: str, starts: list[int], *, priorities: tuple[str, ...] = ("normal",)) -> Facts:
    """Jobs accepted second by second; the first began at 100 s plus the first number, and so on."""
    cases = []
    for number, start in enumerate(starts):
        began, priority = AT + 100 + start, priorities[number % len(priorities)]
        one = case(number, task, planned=submission(number, task, query={"priority": priority}))
        one.notes.sent, one.notes.accepted = AT + number, AT + number + 0.1
        one.requests = [request(number, number, came=began)] if task == "chat" else []
        one.runs = [run(number, token="a", began=began)] if task == "journal" else []
        cases.append(one)
    return facts(*cases)


FORWARD, BACKWARD = [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("task", ["chat", "journal"])
def test_who_came_last_must_not_begin_first(task: str) -> None:
    assert not faults(order.first_in, queue(task, FORWARD))
    assert not faults(order.first_in, queue(task, [1, 0, 3, 2, 5, 4]))  # two at once
    assert faults(order.first_in, queue(task, BACKWARD))


def test_priorities_have_an_order_each() -> None:
    assert not faults(order.first_in, queue("journal", [5, 0, 6, 1, 7, 2, 8, 3, 9, 4], priorities=("low", "high")))
    backward = [9, 4, 8, 3, 7, 2, 6, 1, 5, 0]
    assert faults(order.first_in, queue("journal", backward, priorities=("low", "high")))


def test_who_did_not_wait_at_the_same_time_is_not_compared() -> None:
    row = next(iter(order.first_in(queue("chat", [-99, -98, -97, -96, -95, -94]))))
    assert (row.samples, row.faults) == (0, [])


def handed_back(kind: str, again: float, *, role: str = "sync worker", away: tuple[float, float] = (0, 0)) -> Facts:
    """A journal job whose worker was hit at 1.5 s, at work again at `again`; twelve jobs that began from 20 s on."""
    other = "sync-worker-2-0009"
    runs = [run(50, token="a", ended=None), run(50, token="b", worker=other, began=AT + again, ended=AT + again + 1)]
    own = case(50, "journal", runs=runs, hits=[hit(kind, 1.5, role=role, target=SYNC)])
    waiting = [case(number, "journal", runs=[run(number, token="c", began=AT + 20 + number)]) for number in range(12)]
    outage = replace(deed("partition", "network", began=away[0]), ended=AT + away[1])
    return facts(own, *waiting, deeds=[outage] if away[1] else [])


WRONG = [
    ("a restart", handed_back("SIGTERM", 40)),
    ("a kill", handed_back("SIGKILL", 40)),
    ("a kill, and no outage", handed_back("SIGKILL", 29)),
    ("a supervisor's kill", handed_back("SIGKILL", 40, role="sync supervisor")),
]
RIGHT = [
    ("a restart", handed_back("SIGTERM", 19)),
    ("a kill", handed_back("SIGKILL", 21.5)),
    ("a horse's kill is a failed attempt, which waits", handed_back("SIGKILL", 40, role="sync horse")),
    ("its lease lasted longer after an outage", handed_back("SIGKILL", 29, away=(2, 26))),
]


@pytest.mark.parametrize("found", [pytest.param(found, id=why) for why, found in WRONG])
def test_what_is_handed_back_must_not_wait_behind_others(found: Facts) -> None:
    assert faults(order.handed_back, found)


@pytest.mark.parametrize("found", [pytest.param(found, id=why) for why, found in RIGHT])
def test_what_is_handed_back_goes_first(found: Facts) -> None:
    assert not faults(order.handed_back, found)


@pytest.mark.parametrize("row", [order.first_in, order.handed_back])
def test_a_few_pairs_say_nothing(row: Judge) -> None:
    assert not faults(row, queue("journal", [3, 2, 1]))
