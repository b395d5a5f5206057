"""What a run does and when, as data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SLOW = 8.0  # seconds that a slow answer takes, and a long sync job: longer than a lease

SHORT = 120.0  # seconds; faults of a run that is shorter are short, too

GREYLISTS = "greylists@example.com"  # who sends to this address is told to try again, the first time
LEAVES_LATE = "late@example.com"  # who sends to this address is answered late when it says goodbye
GOODBYE = 2.5  # seconds; a sender waits three


class Role(StrEnum):
    """A kind of process, or what all of them share."""

    GATEWAY = "gateway"
    LLM = "llm worker"
    ISOLATION = "llm isolation"  # the server that forks a process for each suspect
    SYNC = "sync worker"
    SUPERVISOR = "sync supervisor"  # the small process before it
    HORSE = "sync horse"  # the process of one job
    SENDER = "mail horse"  # of one whose mail is taken, and that still says goodbye to the server
    CLOCK = "clock"
    REDIS = "redis"
    NETWORK = "network"  # between Redis and everybody
    DISK = "disk"  # of the store of files


class Act(StrEnum):
    """What is done; the values are the chronicle's kinds."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP"  # and SIGCONT after a while
    RESTART = "SIGTERM"
    CUT = "cut"  # all connections to Redis
    AWAY = "away"  # Redis is killed, and started again after longer than a lease
    ROLLBACK = "rollback"  # Redis is killed, and the last second of its log is gone
    PARTITION = "partition"  # what Redis answers does not arrive
    LATENCY = "latency"
    CUT_ANSWERS = "cut answers"  # in the middle
    FULL = "memory full"
    DISK_FULL = "disk full"
    JUMP = "clock jump"  # Redis's


SIZES = {Role.GATEWAY: 2, Role.LLM: 3, Role.SYNC: 3, Role.CLOCK: 2}  # slots
# Whose process is in whose slot.
SLOTS = {Role.ISOLATION: Role.LLM, Role.SUPERVISOR: Role.SYNC, Role.HORSE: Role.SYNC, Role.SENDER: Role.SYNC}


@dataclass(frozen=True)
class Limit:
    """What the provider allows one model, a minute."""

    rpm: int
    tpm: int | None = None


@dataclass(frozen=True)
class Fault:
    """At `at` seconds, `act` on number `which` of the role; `seconds`: until it goes on, or is started again.

    `at_once`: it waits for no other process of its pool to be at work.
    """

    at: float
    role: Role
    which: int
    act: Act
    seconds: float
    at_once: bool = False


@dataclass(frozen=True)
class Submission:
    """One job: what is posted at `at` seconds, and what its submitter does besides.

    A `webhook_url` in the query is a path only: the receiver's address is not known yet. Its `run_at` is in seconds
    since the load's beginning.
    """

    at: float
    marker: str
    task: str
    body: dict[str, Any]
    query: dict[str, str]
    owner: str = "ann"
    key: str = ""  # its Idempotency-Key, if that is not its marker: another owner's may be the same
    repeats: int = 0  # of the same request with the same key, at the same time
    late: bool = False  # one more repeat when all is submitted
    conflict: bool = False  # another body with the same key
    cancel: float | None = None  # seconds after it was accepted
    begun: bool = False  # `cancel` is in seconds after it was seen to run
    retry: bool = False  # once it is cancelled, or is seen to have failed or expired
    follow: bool = False  # wait for its end, and remember what was seen
    watch: bool = False  # follow its events, leaving the connection now and then
    poison: bool = False
    fails: bool = False  # the provider never answers it well
    rush: bool = False  # one of those that wait for the queues, which are paused

    @property
    def by(self) -> str:
        """Give who submits it: an admin, what only admins may."""
        return "boss" if self.task == "cleanup" else self.owner


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    submissions: list[Submission]
    faults: list[Fault]
    limits: Mapping[str, Limit] = field(default_factory=dict)  # by model; the others have none
    rush: Sequence[Submission] = ()  # when all else is over: all at once
    schedules: tuple[str, ...] = ()  # names; each is due at every full minute

    @property
    def seconds(self) -> float:
        return self.submissions[-1].at

    @property
    def deadline(self) -> float:
        """Seconds after which a run must have ended, besides its start: what still waits then is lost."""
        return 1.5 * self.seconds + 120

    @property
    def deeds(self) -> Counter[tuple[str, str]]:
        """How often what is to be done to whom: kinds and roles of the chronicle."""
        return Counter((fault.act.value, fault.role.value) for fault in self.faults)
