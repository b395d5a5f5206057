"""The job book: every key, every script, and each call as data (see book.py for who runs it)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Generic, TypeVar

from shared.attempt import Decision, Fail, Failure, HandBack, RetryIn
from shared.job import TRANSITIONS, Artefact, Job, Status, Usage, at

T = TypeVar("T")

JOB = "tandem:job:"
FINISHED = "tandem:finished"  # pub/sub channel: ids of jobs that reached a final status
BELL = "tandem:bell:"
KEYS = {
    "JOB": JOB,
    "INDEX": "tandem:jobs",
    "OWNERS": "tandem:owners",
    "COUNTS": "tandem:queue:",
    "BELL": BELL,
    "FENCE": "tandem:fence",
    "LEASES": "tandem:leases:llm",
    "LOCK": "tandem:lock:",
    "SEEN": "tandem:seen:",
    "TRIMMED": "tandem:trimmed",
    "FINISHED": FINISHED,
}
MAX_CRASHES = 3
LEASE = timedelta(seconds=8)  # a dead worker's jobs start elsewhere within 10 s
RENEW_EVERY = LEASE / 4
GAP = timedelta(seconds=3)  # without any call: Redis was away, or nobody was there


@dataclass(frozen=True)
class Call(Generic[T]):
    """One round trip: a script's or a command's name, its arguments, and how to read the answer."""

    name: str
    args: Sequence[Any]
    parse: Callable[[Any], T]
    command: bool = False


@dataclass(frozen=True)
class Lease:
    """The right to run one attempt of a job and to write its outcome, until it expires unrenewed."""

    id: str
    task: str
    owner: str
    payload: str
    request_id: str
    token: str
    attempt: int


@dataclass(frozen=True)
class Claimed:
    """What a claim brought: leases, ids that are not in the job book, and when the next job is due."""

    leases: list[Lease]
    unknown: list[str]
    next_due: timedelta | None = None


@dataclass(frozen=True)
class Success:
    """An attempt that ended well; `result` is JSON."""

    result: str
    provider: str | None = None
    file: Artefact | None = None


@dataclass(frozen=True)
class Filter:
    """What a listing shows; empty strings don't filter."""

    owner: str = ""
    task: str = ""
    queue: str = ""
    status: str = ""


Position = tuple[str, str]  # score and id of the entry a listing goes on after
START: Position = ("+inf", "")


@dataclass(frozen=True)
class Page:
    """Ids, newest first, and where to go on; None at the end."""

    ids: list[str]
    next: Position | None


@dataclass(frozen=True)
class Tick:
    """What one step of the clock did."""

    moved: int
    reaped: int
    trimmed: int


@dataclass(frozen=True)
class Submission:
    """A job to store: its record and the fields that its engine wants."""

    id: str
    queue: str
    task: str
    owner: str
    payload: str
    max_attempts: int
    request_id: str
    engine: Sequence[bytes | str] = field(default_factory=list)


def submit(job: Submission, *, queue_max: int) -> Call[int | None]:
    """Store and enqueue; the answer is `created_at` in ms, or None when the queue is full."""
    args = [job.id, job.queue, job.task, job.owner, job.payload, job.max_attempts, queue_max, job.request_id]
    return Call("submit", [*args, *job.engine], lambda answer: None if answer[0] < 0 else int(answer[0]))


def claim_llm(*, worker: str, limit: int, ttl: timedelta) -> Call[Claimed]:
    """Claim up to `limit` due jobs of the asyncio pool."""

    def parse(answer: Any) -> Claimed:
        due = None if answer[2] < 0 else timedelta(milliseconds=float(answer[2]))
        return Claimed([_lease(item) for item in answer[0]], [id_.decode() for id_ in answer[1]], due)

    return Call("claim_llm", [worker, ms(LEASE), ms(ttl), limit], parse)


def claim_sync(*, worker: str, ttl: timedelta) -> Call[Claimed]:
    """Claim the next job of the forking pool."""
    return Call(
        "claim_sync",
        [worker, ms(LEASE), ms(ttl)],
        lambda answer: Claimed([_lease(item) for item in answer[0]], [id_.decode() for id_ in answer[1]]),
    )


def renew(queue: str, leases: Sequence[Lease]) -> Call[list[str]]:
    """Prolong leases; the answer lists the ids whose lease is lost."""
    pairs = [part for lease in leases for part in (lease.id, lease.token)]
    return Call("renew", [queue, ms(LEASE), *pairs], lambda answer: [id_.decode() for id_ in answer])


def succeed(lease: Lease, success: Success, *, usage: Usage, ttl: timedelta) -> Call[bool]:
    """Write a result; False if the lease was lost and nothing was written."""
    fields: list[Any] = ["result", success.result]
    if success.provider:
        fields += ["provider", success.provider]
    if success.file:
        fields += ["file", json.dumps(asdict(success.file))]
    return _finish(lease, "succeeded", usage=usage, ttl=ttl, fields=fields)


def give_up(lease: Lease, decision: Decision, *, usage: Usage, ttl: timedelta) -> Call[bool]:
    """Write what follows from a failed attempt; False if the lease was lost and nothing was written."""
    match decision:
        case HandBack(delay):
            return _finish(lease, "hand_back", usage=usage, ttl=ttl, delay=delay)
        case RetryIn(delay, failure):
            return _finish(lease, "retry", usage=usage, ttl=ttl, delay=delay, failure=failure)
        case Fail(failure):
            return _finish(lease, "failed", usage=usage, ttl=ttl, failure=failure)


def crash(lease: Lease, *, ttl: timedelta, delay: timedelta) -> Call[bool]:
    """Write that the process which ran the attempt died; the third time the job is failed as `crash_loop`."""
    return _finish(lease, "crash", usage=Usage(), ttl=ttl, delay=delay)


def _finish(
    lease: Lease,
    outcome: str,
    *,
    usage: Usage,
    ttl: timedelta,
    delay: timedelta = timedelta(0),
    failure: Failure | None = None,
    fields: Sequence[Any] = (),
) -> Call[bool]:
    attempt = ""
    if failure:
        attempt = json.dumps({"attempt": lease.attempt, "type": failure.type, "message": failure.message})
        fields = ["error", json.dumps(asdict(failure))]
    cost = [usage.input_tokens, usage.output_tokens, usage.requests]
    args = [lease.id, lease.token, outcome, ms(delay), ms(ttl), attempt, *cost, *fields]
    return Call("finish", args, bool)


def tick(*, ttl: timedelta) -> Call[Tick]:
    """Do one step of the clock."""
    return Call("tick", [ms(ttl)], lambda answer: Tick(*answer))


def fetch(job_id: str) -> Call[Job | None]:
    """Read a job's record."""
    return Call("HGETALL", [JOB + job_id], _job, command=True)


def page(which: Filter, *, after: Position = START, limit: int) -> Call[Page]:
    """Read one stretch of a listing. It may hold fewer than `limit` ids and yet have a `next`."""

    def parse(answer: Any) -> Page:
        position = (answer[1].decode(), answer[2].decode()) if len(answer) > 1 else None
        return Page([id_.decode() for id_ in answer[0]], position)

    return Call("list", [which.owner, *after, limit, which.task, which.queue, which.status], parse)


def erase(job_ids: Sequence[str]) -> Call[int]:
    """Erase the records of those jobs that are finished; the answer is how many."""
    return Call("erase", list(job_ids), int)


def size(job_id: str) -> Call[int]:
    """Read how many bytes a job's record takes in Redis."""
    return Call("MEMORY USAGE", [JOB + job_id], lambda answer: int(answer or 0), command=True)


def trim(owner: str, *, start: int, dry_run: bool) -> Call[tuple[int, int | None]]:
    """Drop entries without a record from a stretch of an index; answers how many, and where to go on."""
    return Call(
        "trim",
        [owner, start, int(dry_run)],
        lambda answer: (int(answer[0]), None if answer[1] < 0 else int(answer[1])),
    )


def owners() -> Call[list[str]]:
    """Read the names of all owners that ever submitted."""
    return Call("SMEMBERS", [KEYS["OWNERS"]], lambda answer: sorted(name.decode() for name in answer), command=True)


def now() -> Call[datetime]:
    """Read Redis's clock."""
    return Call("TIME", [], lambda answer: at(int(answer[0]) * 1000 + int(answer[1]) // 1000), command=True)


def drop_file(job_id: str) -> Call[bool]:
    """Forget the artefact of a job."""
    return Call("HDEL", [JOB + job_id, "file"], bool, command=True)


def hold(name: str, *, job_id: str, token: str) -> Call[bool]:
    """Take a named lock for as long as the job's lease lasts; False if another job holds it."""
    return Call("hold", [name, job_id, token], bool)


def source(script: str) -> str:
    """Give a script's Lua: the constants, the shared part, the script."""
    folder = files("shared") / "lua"
    return "\n".join([_constants(), (folder / "book.lua").read_text(), (folder / f"{script}.lua").read_text()])


def _constants() -> str:
    legal = ", ".join(
        f"{status} = {{{', '.join(f'{target} = true' for target in sorted(targets))}}}"
        for status, targets in TRANSITIONS.items()
    )
    lines = [f"local {name} = '{key}'" for name, key in KEYS.items()]
    numbers = {"MAX_CRASHES": MAX_CRASHES, "LEASE_MS": ms(LEASE), "GAP_MS": ms(GAP)}
    lines += [f"local {name} = {value}" for name, value in numbers.items()]
    return "\n".join([*lines, f"local LEGAL = {{{legal}}}"])


def ms(duration: timedelta) -> int:
    """Whole milliseconds."""
    return round(duration / timedelta(milliseconds=1))


def _lease(item: Any) -> Lease:
    id_, task, owner, payload, request_id, token = (text.decode() for text in item[:6])
    return Lease(id_, task, owner, payload, request_id, token, int(item[6]))


def _job(answer: Any) -> Job | None:
    return Job.from_hash(answer) if answer and b"status" in answer else None


SCRIPTS = ("submit", "claim_llm", "claim_sync", "renew", "finish", "tick", "list", "erase", "trim", "hold")
assert set(TRANSITIONS) == set(Status)  # noqa: S101 - a status without a row would break every script
