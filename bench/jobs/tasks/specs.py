"""Tasks of the measurements; `bench.jobs.extended` adds them to the catalogue of a process."""

from datetime import timedelta
from typing import Literal

from tandem.shared.tasks.spec import Input, Output, Queue, TaskSpec


class Sent(Input):
    sent: float = 0.0
    seconds: float = 0.0
    padding: str = ""


class Hurt(Input):
    how: Literal["segfault", "memory"]


class Nothing(Output):
    pid: int


LLM_NOOP = TaskSpec(
    name="llm_noop",
    queue=Queue.LLM,
    summary="Do nothing.",
    input=Sent,
    output=Nothing,
    example={"sent": 0.0},
    timeout=timedelta(minutes=5),
)
SYNC_NOOP = TaskSpec(
    name="sync_noop",
    queue=Queue.SYNC,
    summary="Do nothing.",
    input=Sent,
    output=Nothing,
    example={"sent": 0.0},
    timeout=timedelta(minutes=5),
)
SYNC_HURT = TaskSpec(
    name="sync_hurt",
    queue=Queue.SYNC,
    summary="End badly.",
    input=Hurt,
    output=Nothing,
    example={"how": "segfault"},
    timeout=timedelta(minutes=5),
)
