"""What was seen outside of the platform: the shapes of the logs' lines, of the driver's notes and of the chronicle.

Times are `time.time()` of this machine, never of a process whose clock jumps. A job is known by its `marker`, which its
submission carries to whoever sees the work. A process is known by the name of its slot's incarnation, as in
`llm-worker-2-0014`: the LLM workers' is their API key at the provider, the sync workers' is in their environment.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request at the provider.

    `fault` is "" for a good answer, else one of the provider's FAULTS; "late" is a good answer too.
    `ended` is when the answer was sent whole, broken off, or the client had left; None: the log ends before.
    """

    number: int
    asker: str  # the name of the worker, from its API key
    marker: str
    model: str
    came: float
    ended: float | None = None
    fault: str = ""
    retry_after: float = 0.0  # seconds, if the answer says so
    tokens: int = 0  # as they count against the limit: what the answer says was used
    taken: bool = False  # the whole answer was sent, and the client was there

    @property
    def good(self) -> bool:
        return self.fault in {"", "late"}


@dataclass(frozen=True, kw_only=True)
class SyncRun:
    """One run of a journal task: a line when it begins, others while it lasts, one when it ends with its `token`."""

    marker: str
    job: str  # id: a schedule's jobs have one marker
    worker: str
    pid: int
    token: str  # drawn by the run; its result
    began: float
    alive: float | None = None  # when it last said that it goes on
    ended: float | None = None

    @property
    def last(self) -> float:
        """Give the time at which it was last seen at work."""
        return self.ended or self.alive or self.began


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One mail whose DATA was read whole. `answer`: "250", "4xx", "5xx", "cut" (closed before the answer)
    or "lost" (taken, but the answer never arrived); a "250" or a "lost" one is in the outbox.
    """

    marker: str  # the subject
    job: str
    message_id: str
    to: list[str]  # whom the envelope names
    text: str
    at: float
    answer: str

    @property
    def taken(self) -> bool:
        return self.answer in {"250", "lost"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One webhook request. `answer` is the status that was sent; 0: closed without one."""

    id: str
    job: str
    event: str  # the body's type
    signed: bool  # with the secret that the receiver has, and just now
    status: str  # of the job, as the body tells it
    result: Any  # likewise
    at: float
    answer: int

    @property
    def taken(self) -> bool:
        return 200 <= self.answer < 300


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file of the store, when all was over; `key` as a job's record names it."""

    key: str
    job: str
    at: float  # last written
    sha256: str
    said: str = ""  # its text, if it is a PDF


@dataclass(kw_only=True)
class Deed:
    """One thing that was done to the platform, or that happened to it: an entry of the chronicle.

    `kind` is "SIGKILL", "SIGSTOP", "SIGTERM", "cut", "away", "rollback", "partition", "latency", "cut answers",
    "memory full", "disk full", "clock jump", or "died": a process that ended though nobody hit it (a poison's doing).
    `role` is who was hit: a Role's value, or "sync horse", "sync supervisor", "llm isolation", "llm isolated job".
    """

    kind: str
    role: str
    target: str = ""  # the incarnation's name; "" for what all share
    pid: int = 0
    began: float
    ended: float | None = None  # when it went on, or its successor was ready
    jobs: AbstractSet[str] = frozenset()  # ids that the job book said ran there
    waited: float = 0.0  # seconds until enough others of its pool were at work


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A cancel or a retry; `status` is 0 if nobody answered. `again`: an earlier request may have done it."""

    sent: float
    answered: float
    status: int
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event that a watcher got, over its `connection` number 1, 2, …"""

    at: float
    connection: int
    id: int
    kind: str
    data: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A job as the API showed it to its submitter."""

    at: float
    job: dict[str, Any]


@dataclass(kw_only=True)
class Notes:
    """What the driver knows of one submission."""

    ids: set[str] = field(default_factory=set)  # in all answers to its key
    sent: float = 0.0  # the first request
    accepted: float | None = None  # the first 202 or 200
    conflict: int | None = None  # the status of another body with its key
    late: int | None = None  # of the repeat when all was submitted
    other: str = ""  # the id of the job that this other body made
    cancel: Wish | None = None
    retry: Wish | None = None
    told: list[Told] = field(default_factory=list)
    watched: bool = False  # its events were followed to the end, however often the connection broke
    shown: list[Shown] = field(default_factory=list)  # each state that its submitter saw; the last one may be final
