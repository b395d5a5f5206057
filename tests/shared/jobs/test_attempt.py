import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.errors import FinalError, Snooze, StoreUnavailable, TransientError, Unreachable
from tandem.shared.jobs.attempt import (
    ANOTHER_WORKER,
    MAX_DEPTH,
    UNKNOWN_FOR,
    check_input,
    check_output,
    report,
    timed_out,
    unknown_task,
)
from tandem.shared.jobs.model import Job, Status, at
from tandem.shared.jobs.retry import Fail, HandBack, decide
from tandem.shared.jobs.view import links_of, render
from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Question(Input):
    text: str
    strength: float = 1


class Answer(Output):
    value: Any


class Other(Output):
    value: Any


ASK = TaskSpec(
    name="ask",
    queue=Queue.LLM,
    summary="Ask.",
    input=Question,
    output=Answer,
    example={"text": "?"},
    timeout=timedelta(seconds=90),
)


def test_an_unknown_task_is_left_to_another_worker_for_a_while() -> None:
    for known_for in (timedelta(0), UNKNOWN_FOR - timedelta(milliseconds=1)):
        assert unknown_task("novel", known_for=known_for) == HandBack(ANOTHER_WORKER, begun=False, known=False)
    decision = unknown_task("novel", known_for=UNKNOWN_FOR)
    assert isinstance(decision, Fail)
    assert (decision.failure.type, decision.failure.retryable) == ("unknown_task", False)


def test_an_input_is_read_or_final() -> None:
    assert check_input(ASK, '{"text": "?"}') == Question(text="?")
    with pytest.raises(FinalError, match=r"^strength: Input should be a finite number$") as raised:
        check_input(ASK, '{"text": "a secret", "strength": NaN}')
    assert raised.value.type == "invalid_input"


@pytest.mark.parametrize("value", ["Infinity and NaN are words", 'a "NaN"', {"NaN": 1}, 1e308, ["\U0001f600"], None])
def test_a_result_is_json(value: Any) -> None:
    assert Answer.model_validate_json(check_output(ASK, Answer(value=value))).value == value


@pytest.mark.parametrize(
    "output",
    [
        None,
        {"value": "secret"},
        Other(value="secret"),
        Answer,
        Answer(value=float("nan")),
        Answer(value=["secret", float("-inf")]),
        Answer(value="secret\ud800"),
        Answer(value=object()),
        Answer(value=b"secret\xff"),
    ],
)
def test_any_other_result_is_final_and_not_shown(output: object) -> None:
    with pytest.raises(FinalError) as raised:
        check_output(ASK, output)
    assert raised.value.type == "invalid_result"
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("value", [nested(MAX_DEPTH), "\U0001f600\\ud83d"])
def test_what_can_be_stored_can_be_shown(value: Any) -> None:
    job = Job(
        id="1",
        task="ask",
        queue=Queue.LLM,
        owner="ann",
        status=Status.SUCCEEDED,
        priority="normal",
        attempt=1,
        max_attempts=1,
        created_at=at(0),
        result_json=check_output(ASK, Answer(value=value)).encode(),
    )
    shown = b"".join(render(job, links_of("/v1/jobs/1", file=False)))
    assert json.loads(json.dumps({"data": [json.loads(shown)]}))["data"][0]["result"] == {"value": value}


def test_a_result_too_deep_to_be_shown_is_final() -> None:
    with pytest.raises(FinalError):
        check_output(ASK, Answer(value=nested(MAX_DEPTH + 20)))


def test_a_result_that_contains_itself_is_final() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(FinalError):
        check_output(ASK, Answer(value=value))


def test_a_time_limit_is_worth_another_attempt() -> None:
    error = timed_out("ask", timedelta(minutes=1.5))
    assert (error.type, error.retryable, error.message) == ("timeout", True, "ask did not end within 90 s")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "has_frames"),
    [(ValueError("secret"), True), (TransientError("as written"), False), (Snooze(timedelta(seconds=1)), False)],
)
def test_the_log_has_the_frames_of_what_nobody_foresaw(error: Exception, *, has_frames: bool) -> None:
    _, line = report(decide(error, RetryPolicy(max_attempts=1), attempt=1, jitter=0), raised(error), attempt=1)
    assert ("raise error" in line) is has_frames
    assert "secret" not in line
    assert "as written" not in line, "a JobError's message is for the job's owner"


def down(*, refused: bool) -> Unreachable:
    error = Unreachable("its words", type="provider_timeout", retry_after=timedelta(seconds=5))
    error.down, error.refused, error.service = True, refused, "p:m"
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Snooze(timedelta(seconds=2), why="it waits for x"), "put back for 2.0 s: it waits for x; no attempt burnt"),
        (Snooze(timedelta(seconds=2)), "put back for 2.0 s; no attempt burnt"),
        (down(refused=True), "put back for 5.0 s: p:m takes no requests (no connection); no attempt burnt"),
        (down(refused=False), "put back for 5.0 s: p:m takes no requests (provider_timeout); no attempt burnt"),
        (StoreUnavailable("its words"), "put back for 2.0 s: Redis is away; no attempt burnt"),
    ],
)
def test_what_burns_no_attempt_is_no_warning_and_says_why(error: Exception, line: str) -> None:
    assert report(decide(error, RetryPolicy(), attempt=1, jitter=0), error, attempt=1) == (logging.INFO, line)


def test_what_burns_one_is_a_warning() -> None:
    error = TransientError("its words")
    level, line = report(decide(error, RetryPolicy(), attempt=3, jitter=0), error, attempt=3)
    assert level == logging.WARNING
    assert line.startswith("attempt 3 failed, again in ")
