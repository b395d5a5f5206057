"""What is known when a run is over, by job: what its submitter, the provider and the others saw, and the book."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tandem.shared.jobs.events import Event
from tandem.shared.jobs.model import Job, Status
from tests.chaos.faults.wrong_time import TAKEN_WITHIN
from tests.chaos.judge.spans import Spans
from tests.chaos.load.probes import Picks
from tests.chaos.outside.records import Call, Deed, Notes, Request, Shown, StoredFile, SyncRun, Transaction
from tests.chaos.plan.model import Limit, Submission

LEASE = 6.0  # seconds, without a renewal
RENEWED = 1.0  # seconds between renewals: so much earlier a lease may end, seen from a stop
BEFORE = 0.5  # seconds before its lease's end in which a sync job is ended, if its worker is suspended
SILENT = 4.0  # seconds without an answer of Redis after which a sync worker stops its job, or soon after
LLM_TASKS = frozenset({"chat", "score", "embed", "extract", "async_trouble"})
FLUSHED = 0.1  # seconds that Redis may take to write down what it has answered
WRITTEN = 1.0  # seconds from what is seen outside to the job book's having it
SHORT = 2_000  # jobs; a shorter run has fewer samples of each goal
LOSING = frozenset({"SIGKILL", "SIGSTOP", "SIGTERM", "died"})  # kinds of deeds that take a job from its worker


class Hit(NamedTuple):
    """A job ran in a process when something was done to that.

    `sure` is False if its request had just been answered: its result may have been written already, or not.
    """

    deed: Deed
    at: float
    sure: bool = True

    @property
    def lost(self) -> bool:
        """Say whether the run can't have lived on, or need not."""
        if self.deed.kind == "SIGSTOP":
            before = BEFORE if self.deed.role == "sync worker" else 0.0
            return (self.deed.ended or float("inf")) - self.at >= LEASE - RENEWED - before
        return self.deed.kind in LOSING

    @property
    def over(self) -> float:
        """Say when a stop is over for the job: it goes on, or that of a sync worker was ended with its lease."""
        ended = self.deed.ended or float("inf")
        return min(ended, self.at + LEASE) if self.deed.role == "sync worker" else ended

    @property
    def burns(self) -> bool:
        """Say whether it may cost an attempt: a restart may not."""
        return self.lost and self.deed.kind != "SIGTERM"


class Sign(NamedTuple):
    """Work that was seen outside: a request, a journal line, a mail or a file. `by` is "" if nothing names a worker."""

    at: float
    by: str


class Ttl(NamedTuple):
    """At a time, how many seconds the record of a job still had to live; negative if it has no such time."""

    at: float
    seconds: float


@dataclass(kw_only=True)
class Case:
    """One accepted submission, and all that was seen of it, each kind in the order of time."""

    id: str
    planned: Submission
    notes: Notes
    job: Job | None = None  # in the book
    events: list[Event] = field(default_factory=list)  # in the book
    requests: list[Request] = field(default_factory=list)
    runs: list[SyncRun] = field(default_factory=list)
    mails: list[Transaction] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    ttl: Ttl | None = None

    @property
    def model(self) -> str:
        return str(self.planned.body.get("model", ""))

    @property
    def llm(self) -> bool:
        return self.planned.task in LLM_TASKS

    @property
    def retried(self) -> bool:
        """Say whether its submitter let it run again."""
        wish = self.notes.retry
        return wish is not None and (wish.status in {200, 202} or wish.again or wish.status == 0)

    @property
    def cancelled(self) -> bool:
        """Say whether a cancel may have been carried out. Its answer may be lost, and the next one a 409."""
        wish = self.notes.cancel
        return wish is not None and (wish.status == 200 or wish.again or wish.status == 0)

    @property
    def succeeded(self) -> bool:
        return self.job is not None and self.job.status is Status.SUCCEEDED

    @property
    def final(self) -> Shown | None:
        """Give the last state that its submitter saw, if that was final."""
        last = self.notes.shown[-1] if self.notes.shown else None
        return last if last and last.job["status"] in {"succeeded", "failed", "cancelled", "expired"} else None

    @cached_property
    def signs(self) -> list[Sign]:
        """All work that was seen outside, in the order of time."""
        found = [Sign(request.came, request.asker) for request in self.requests]
        found += [Sign(run.began, run.worker) for run in self.runs]
        found += [Sign(mail.at, "") for mail in self.mails]
        found += [Sign(file.at, "") for file in self.files]
        return sorted(found)

    @property
    def changes(self) -> list[float]:
        """Give the times at which something of it was written, or may have been: what was seen outside begins or ends.

        An end is written a moment after it is seen.
        """
        wishes = [wish for wish in (self.notes.cancel, self.notes.retry) if wish]
        found = [self.notes.accepted or self.notes.sent, *(wish.answered for wish in wishes)]
        found += [sign.at for sign in self.signs] + [request.ended or request.came for request in self.requests]
        found += [run.ended or run.began for run in self.runs] + [event.at for event in self.notes.told]
        return found if self.job is None or not self.job.finished_at else [*found, self.job.finished_at.timestamp()]

    @property
    def last_seen(self) -> float:
        """Give the time of the last thing that was seen of it."""
        ends = [request.ended or request.came for request in self.requests] + [sign.at for sign in self.signs]
        return max([self.notes.accepted or self.notes.sent, *ends])

    @property
    def name(self) -> str:
        return f"{self.planned.marker} ({self.planned.task})"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the rows are about."""

    seed: int
    began: float  # of the load
    until: float  # the last submission
    cases: Sequence[Case]
    refused: Sequence[str] = ()  # markers that were never accepted
    sent_again: int = 0  # requests without an answer, or with 503 or 429
    ended: bool = True  # the run ended before its deadline
    gave_up: Sequence[str] = ()  # markers of those whose submitters did not see the end in time
    deeds: Sequence[Deed] = ()
    planned_deeds: Counter[tuple[str, str]] = field(default_factory=Counter)  # how often the plan says (kind, role)
    outages: Spans = field(default_factory=Spans)  # Redis did not answer the driver
    slots: dict[str, int] = field(default_factory=dict)  # processes of each role
    grace: float = 2.0  # seconds that a worker has to end what it is at, the setting's
    places: int = 40  # jobs at once in one LLM worker
    limits: dict[str, Limit] = field(default_factory=dict)  # by model
    requests: Sequence[Request] = ()  # all, in the order of time
    views: Mapping[str, AbstractSet[str]] = field(
        default_factory=dict
    )  # ids that the API shows each owner, by its name
    listed: frozenset[str] = frozenset()  # ids that the API lists, without the schedules'
    strays: Sequence[str] = ()  # what was seen outside and belongs to no job
    schedules: dict[str, Sequence[float]] = field(default_factory=dict)  # due times by the schedule's name
    scheduled: Sequence[SyncRun] = ()  # runs of the schedules' jobs
    files_left: Sequence[str] = ()  # keys in the file store after a `cleanup` of all orphans
    job_ttl: float = 7 * 86_400.0  # seconds, the setting's
    picks: Picks | None = None
    keyspace: Sequence[str] = ()

    @property
    def short(self) -> bool:
        return len(self.cases) < SHORT

    def least(self, short: int, long: int) -> int:
        """Say how many samples a row needs."""
        return short if self.short else long

    def spans(self, *kinds: str) -> Spans:
        """Give the times of all deeds of these kinds."""
        return Spans((deed.began, deed.ended or deed.began) for deed in self.deeds if deed.kind in kinds)

    @cached_property
    def away(self) -> Spans:
        """Give the times in which the platform could not reach Redis: it was away, or the way there was cut."""
        return Spans([*self.outages, *self.spans("partition", "cut answers")])

    @cached_property
    def unwritable(self) -> Spans:
        """Give the times in which nothing could be written: Redis could not be reached, or had no memory."""
        return Spans([*self.away, *self.spans("memory full")])

    @cached_property
    def silences(self) -> Spans:
        """Give the times in which Redis was silent for so long that sync workers had to stop and hand back their jobs.

        Others might have been heard. While it refuses connections, nobody is, and the jobs go on.
        """
        silent = [
            deed for deed in self.deeds if (deed.kind, deed.role) in {("SIGSTOP", "redis"), ("partition", "network")}
        ]
        spans = [(deed.began, deed.ended or deed.began) for deed in silent]
        return Spans((start, end) for start, end in spans if end - start > SILENT)

    @cached_property
    def rolled_back(self) -> Spans:
        """Give the times whose writes Redis has lost: nothing acknowledged in them is promised."""
        kept = self.spans("rollback")
        return Spans((start - FLUSHED, end) for start, end in kept)

    @cached_property
    def jumps(self) -> Spans:
        """Give the times in which a clock was wrong: what the book says of them can't be compared with outside."""
        return Spans((start, end + TAKEN_WITHIN) for start, end in self.spans("clock jump"))

    def due(self, case: Case) -> float | None:
        """Give the time before which a job must not begin, if its submitter gave one."""
        query = case.planned.query
        if "run_at" in query:
            return self.began + float(query["run_at"])
        return case.notes.sent + float(query["delay"]) if "delay" in query else None

    def unpromised(self, case: Case) -> bool:
        """Say whether a job was accepted in a second that Redis has lost."""
        return case.notes.accepted is not None and self.rolled_back.touch(case.notes.accepted, case.notes.accepted)

    def made_anew(self, case: Case) -> bool:
        """Say whether Redis has lost a job, and its key, sent again, has made another one."""
        return len(case.notes.ids) > 1 and self.unpromised(case)

    def unsettled(self, case: Case) -> bool:
        """Say whether anything of a job was written in a second that Redis has lost: it may have run again for that.

        What can't be written waits, and is written when Redis is back.
        """
        return any(self.rolled_back.touch(at, self.unwritable.over(at, WRITTEN) + WRITTEN) for at in case.changes)


def percentile(values: Iterable[float], part: float) -> float:
    """Give the value that `part` of the values don't exceed; of a few, their largest for 0.99."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * part))]
