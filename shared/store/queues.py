"""The queues as an operator sees them: what they hold, who works on them, pause and resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tandem.shared.store.scripts import Call


class QueueName(StrEnum):
    """The queues that can be looked at and paused: the two pools', and the one of webhook deliveries."""

    LLM = "llm"
    SYNC = "sync"
    WEBHOOKS = "webhooks"


@dataclass(frozen=True)
class WorkerState:
    """One worker by its last heartbeat."""

    id: str
    host: str
    pid: int
    heartbeat_age: timedelta
    running: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """What a queue holds; `oldest_age` is how long the head has been due, None if nothing is."""

    name: str
    waiting: int
    scheduled: int
    running: int
    failed: int
    oldest_age: timedelta | None
    rate_per_minute: float
    paused: bool
    workers: Sequence[WorkerState]


def look(queue: QueueName) -> Call[QueueState]:
    """Read a queue's state."""

    def parse(answer: Any) -> QueueState:
        waiting, scheduled, running, failed, oldest, rate, paused, workers = answer
        return QueueState(
            name=queue,
            waiting=waiting,
            scheduled=scheduled,
            running=running,
            failed=failed,
            oldest_age=None if oldest < 0 else timedelta(milliseconds=oldest),
            rate_per_minute=float(rate),
            paused=bool(paused),
            workers=[_worker(*item) for item in workers],
        )

    return Call("queues", [queue], parse)


def pause(queue: QueueName, *, paused: bool) -> Call[None]:
    """Let nothing new start (running jobs end, submissions are accepted), or let it start again."""
    return Call("pause", [queue, int(paused)], lambda _answer: None)


def _worker(id_: bytes, host: bytes, pid: bytes, age: int, running: bytes) -> WorkerState:
    return WorkerState(
        id_.decode(), host.decode(), int(pid), timedelta(milliseconds=float(age)), running.decode().split()
    )
