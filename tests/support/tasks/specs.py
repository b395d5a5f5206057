"""Specs of the tests' tasks."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import field_validator

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


class TellingInput(Input):
    how: str
    secret: str
    colour: Literal["red", "green"] = "red"
    by_name: dict[str, int] = {}

    @field_validator("how")
    @classmethod
    def _is_no_secret(cls, how: str) -> str:
        if how.startswith("secret"):
            raise ValueError(f"{how} is a secret")
        return how


class JournalInput(Input):
    marker: str
    seconds: float = 0


class Done(Output):
    done: Any


class Told(Output):
    done: Any
    text: str = ""


class Counted(Output):
    number: int


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
ASYNC_TELLING = TaskSpec(
    name="async_telling",
    queue=Queue.LLM,
    summary="Telling.",
    input=TellingInput,
    output=Told,
    example={"how": "nothing", "secret": ""},
    timeout=timedelta(seconds=30),
    retry=RetryPolicy(max_attempts=1),
)
SYNC_TELLING = TaskSpec(
    name="sync_telling",
    queue=Queue.SYNC,
    summary="Telling.",
    input=TellingInput,
    output=Told,
    example={"how": "nothing", "secret": ""},
    timeout=timedelta(seconds=30),
    retry=RetryPolicy(max_attempts=1),
)
JOURNAL = TaskSpec(
    name="journal",
    queue=Queue.SYNC,
    summary="Journal.",
    input=JournalInput,
    output=Done,
    example={"marker": "one"},
    timeout=timedelta(seconds=30),
    retry=RetryPolicy(base=timedelta(milliseconds=100)),
)
