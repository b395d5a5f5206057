"""The queues as an operator sees them: what they hold, who works on them, pause and resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tandem.shared.store.keys import Key, RqKey
from tandem.shared.store.scripts import ENGINES, RECORDS, WEBHOOKS, Call, Flag, script
from tandem.shared.store.signature import Foreign
from tandem.shared.tasks.spec import Queue


class QueueName(StrEnum):
    """The queues that can be looked at and paused: the two pools', and the one of webhook deliveries."""

    LLM = Queue.LLM.value
    SYNC = Queue.SYNC.value
    WEBHOOKS = WEBHOOKS


@dataclass(frozen=True)
class WorkerState:
    """One worker by its last heartbeat; `runs` are the ids of its jobs, with blanks between."""

    id: str
    host: str
    pid: int
    heartbeat_age: timedelta
    runs: Foreign

    @property
    def running(self) -> list[str]:
        """The ids of its jobs."""
        return self.runs.split()


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


@script("queues/queues", library=ENGINES, flag=Flag.NO_WRITES)
def look(queue: QueueName) -> QueueState:
    """Read a queue's state, with the 200 workers at most whose heartbeats are the newest."""


@script("queues/pause", library=RECORDS)
def pause(queue: QueueName, *, paused: bool) -> None:
    """Let nothing new start (running jobs end, submissions are accepted), or let it start again."""


@script("queues/leave", library=RECORDS)
def leave(worker: str, queue: str, *, health: str | None = None) -> int:
    """Forget a worker that has stopped; with the last one goes arq's key `health`. Answers how many are left."""


def wake(queue: str) -> Call[int]:
    """Wake a worker of a queue, in place of one that has no room."""
    return Call("LPUSH", [Key.WAKEUP + queue, "1"], int, command=True)


def failed_in_rq(queue: str, *, limit: int) -> Call[list[str]]:
    """Read the ids of jobs that a queue of RQ's shows as failed, the oldest first."""
    return Call("ZRANGE", [RqKey.RQ_FAILED + queue, 0, limit - 1], _texts, command=True)


def _texts(answer: Any) -> list[str]:
    return [item.decode(errors="replace") for item in answer]
