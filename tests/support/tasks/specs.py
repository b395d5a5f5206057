"""Specs of the tests' tasks."""

from datetime import timedelta
from typing import Any

from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec

RETRY = RetryPolicy(max_attempts=2, base=timedelta(milliseconds=100))
EXAMPLE = {"how": "well"}


class OddInput(Input):
    how: str
    marks: str = ""
    seconds: float = 0


class TroubleInput(Input):
    how: str
    marks: str = ""


class Done(Output):
    done: Any


ODD = TaskSpec(
    name="odd",
    queue=Queue.LLM,
    summary="Odd.",
    input=OddInput,
    output=Done,
    example=EXAMPLE,
    timeout=timedelta(seconds=30),
    retry=RETRY,
)
ASYNC_TROUBLE = TaskSpec(
    name="async_trouble",
    queue=Queue.LLM,
    summary="Trouble.",
    input=TroubleInput,
    output=Done,
    example=EXAMPLE,
    timeout=timedelta(seconds=3),
    retry=RETRY,
)
SYNC_TROUBLE = TaskSpec(
    name="sync_trouble",
    queue=Queue.SYNC,
    summary="Trouble.",
    input=TroubleInput,
    output=Done,
    example=EXAMPLE,
    timeout=timedelta(seconds=3),
    retry=RETRY,
)
