"""What a task is: declared once, everything else is derived from it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from tandem.shared.tasks.forecast import Forecast

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Queue(StrEnum):
    """The pool a task runs on."""

    LLM = "llm"
    SYNC = "sync"


class Priority(StrEnum):
    """Which jobs of a queue go first, the highest one first; `idle` ones only where nothing else waits."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    IDLE = "idle"


class Input(BaseModel):
    """Base of all task inputs: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Output(BaseModel):
    """Base of all task results."""

    # Numbers that JSON does not have are written as such, to be seen and refused: no silent null.
    model_config = ConfigDict(
        frozen=True,
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
        ser_json_inf_nan="constants",
    )


In = TypeVar("In", bound=Input)
Out = TypeVar("Out", bound=Output)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with equal jitter: attempt n waits between half of and all of
    `base * 2**(n-1)`, at most `cap` (Brooker, "Exponential Backoff and Jitter", 2015).
    `delays`, if given, are the exact waits instead, the last one for all further attempts.
    """

    max_attempts: int = 5
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=1)
    delays: tuple[timedelta, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Generic[In, Out]):
    """One task type. Endpoint, OpenAPI entry, routing, worker binding and typed result derive from it.

    `forecast` tells what the first request to a provider needs; without it a job waits for no limit in the queue.
    `concurrency` is how many of its jobs may run at once, over all workers; the config file goes before.

    Raises:
        ValueError: the name is not a lower-case identifier, or the example is not a valid input.

    """

    name: str
    queue: Queue
    summary: str
    input: type[In]
    output: type[Out]
    example: dict[str, Any]
    timeout: timedelta
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    admin: bool = False
    forecast: Callable[[In], Forecast] | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"task name {self.name!r} must match {NAME.pattern}")
        self.input.model_validate(self.example)


AnySpec = TaskSpec[Any, Any]
