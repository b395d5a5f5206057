"""In a rush the urgent begin first."""

import pytest

from tests.chaos.judge import rush
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import AT, case, facts, request, run, submission
from tests.chaos.judge.wrong_facts import faults


def rushed(task: str, *, high: float, low: float) -> Facts:
    """Twenty jobs that waited together: from when on each kind began, ten a second."""
    cases = []
    for number in range(20):
        priority = ("low", "high")[number % 2]
        planned = submission(number, task, query={"priority": priority}, rush=True)
        began = AT + {"low": low, "high": high}[priority] + number / 20
        work = {"requests": [request(number, number, came=began)], "runs": [run(number, token="a", began=began)]}
        cases.append(
            case(
                number,
                task,
                planned=planned,
                **{"chat": {"requests": work["requests"]}}.get(task, {"runs": work["runs"]}),
            )
        )
    return facts(*cases)


@pytest.mark.parametrize("task", ["chat", "journal"])
def test_in_a_rush_high_goes_first(task: str) -> None:
    assert not faults(rush.urgent, rushed(task, high=1, low=2))
    assert faults(rush.urgent, rushed(task, high=2, low=1))
    assert faults(rush.urgent, rushed(task, high=1, low=1)), "as they came"
