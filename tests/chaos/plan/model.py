"""What a run does and when, as data."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SLOW = 8.0  # seconds that a slow answer takes: longer than a lease


class Role(StrEnum):
    """A kind of process."""

    GATEWAY = "gateway"
    LLM = "llm worker"
    SYNC = "sync worker"
    CLOCK = "clock"
    REDIS = "redis"


class Act(StrEnum):
    """What is done to a process."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP"  # and SIGCONT after a while
    RESTART = "SIGTERM"
    CUT = "cut"  # all its connections, at Redis


SIZES = {Role.GATEWAY: 2, Role.LLM: 3, Role.SYNC: 2, Role.CLOCK: 2, Role.REDIS: 1}


@dataclass(frozen=True)
class Fault:
    """At `at` seconds, `act` on number `which` of the role; `seconds`: until it goes on, or is started again."""

    at: float
    role: Role
    which: int
    act: Act
    seconds: float


@dataclass(frozen=True)
class Submission:
    """One job: what is posted at `at` seconds, and what its submitter does besides."""

    at: float
    marker: str
    task: str
    body: dict[str, Any]
    query: dict[str, str]
    repeats: int = 0  # of the same request with the same key, at the same time
    conflict: bool = False  # another body with the same key
    cancel: float | None = None  # seconds after it was accepted
    retry: bool = False  # once it is cancelled
    follow: bool = False  # wait for its end, and remember what was seen
    poison: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    submissions: list[Submission]
    faults: list[Fault]
    rpm: int  # of the provider, over all workers

    @property
    def seconds(self) -> float:
        return self.submissions[-1].at
