"""The job book's calls as data: claim, renew, finish, cancel, retry, read (executor.py runs them)."""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from tandem.shared.jobs.model import RECORD, Artefact, Job, Status, Usage, at
from tandem.shared.jobs.retry import Decision, Fail, Failure, HandBack, RetryIn
from tandem.shared.store.scripts import BELL, JOB, LEASE, Call, ms

HOST = socket.gethostname()


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to run one attempt of a job and to write its outcome, until it expires unrenewed.

    `throttled` counts how often a provider's rate limit sent the job back; `suspect` says that it crashed
    twice and runs in a process of its own; `native` names the engine through which it came, if not through us.
    """

    id: str
    task: str
    owner: str
    payload: str
    request_id: str
    token: str
    attempt: int
    max_attempts: int
    created_at: datetime
    stream: bool = False
    throttled: int = 0
    suspect: bool = False
    native: str = ""


@dataclass(frozen=True)
class Unknown:
    """A queue entry that is not in the job book, its queue in its engine, and what arq keeps of it."""

    id: str
    queue: str
    record: bytes = b""


@dataclass(frozen=True)
class Claimed:
    """What a claim brought: leases, entries that are not in the job book, and when the next job is due."""

    leases: list[Lease]
    unknown: list[Unknown]
    next_due: timedelta | None = None


@dataclass(frozen=True)
class Success:
    """An attempt that ended well; `result` is JSON."""

    result: str
    provider: str | None = None
    file: Artefact | None = None


@dataclass(frozen=True)
class Tick:
    """What one step of the clock did."""

    moved: int
    reaped: int
    expired: int
    trimmed: int


def claim_llm(*, worker: str, limit: int, ttl: timedelta, suspects: int = 0) -> Call[Claimed]:
    """Claim up to `limit` due jobs of the asyncio pool; `suspects` says how many of them may be suspects.

    Without an answer run this very call again, until there is one: what it had leased unheard goes back first.
    """

    def parse(answer: Any) -> Claimed:
        due = None if answer[2] < 0 else timedelta(milliseconds=answer[2])
        return _claimed(answer, due)

    return Call("claim_llm", [worker, ms(LEASE), ms(ttl), limit, suspects, uuid4().hex], parse)


def claim_sync(*, worker: str, ttl: timedelta, queues: Sequence[str] = ()) -> Call[Claimed]:
    """Claim the next job of the forking pool; `queues` are further queues of plain RQ to serve.

    Without an answer run this very call again, as with `claim_llm`.
    """
    return Call("claim_sync", [worker, ms(LEASE), ms(ttl), uuid4().hex, *queues], _claimed)


def renew(queue: str, leases: Sequence[Lease], *, worker: str) -> Call[list[str]]:
    """Prolong leases and show that the worker lives; the answer lists the ids whose lease is lost."""
    pairs = [part for lease in leases for part in (lease.id, lease.token)]
    args = [queue, ms(LEASE), worker, HOST, os.getpid(), *pairs]
    return Call("renew", args, lambda answer: [id_.decode() for id_ in answer])


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
        case HandBack(delay, throttled):
            return _finish(lease, "throttled" if throttled else "hand_back", usage=usage, ttl=ttl, delay=delay)
        case RetryIn(delay, failure):
            return _finish(lease, "retry", usage=usage, ttl=ttl, delay=delay, failure=failure)
        case Fail(failure):
            return _finish(lease, "failed", usage=usage, ttl=ttl, failure=failure)


def crash(lease: Lease, *, ttl: timedelta, delay: timedelta) -> Call[bool]:
    """Write that the attempt's own process died; the third time the job is failed as `crash_loop`."""
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


def cancel(job_id: str, *, ttl: timedelta) -> Call[Status | None]:
    """End a job that waits or runs; answers the status that it had, final ones stay. None: no such job."""
    return Call("cancel", [job_id, ms(ttl)], _status)


def retry(job_id: str, *, only: Status | None = None) -> Call[Status | None]:
    """Let a failed, cancelled or expired job wait again, attempts from zero.

    Answers the status that it had; any other one, or one that is not `only`, stays. None: no such job.
    """
    return Call("retry", [job_id, only or ""], _status)


def heed_aborts(*, ttl: timedelta) -> Call[int]:
    """Cancel the jobs that somebody aborted through `arq.jobs.Job`."""
    return Call("abort", [ms(ttl)], int)


def adopt(
    job_id: str, *, queue: str, task: str, payload: str, max_attempts: int, native: str, priority: str, origin: str = ""
) -> Call[bool]:
    """Take a job of plain arq or RQ (`native`; `origin` is its RQ queue) into the book; False if it is there."""
    return Call("adopt", [job_id, queue, task, payload, max_attempts, native, priority, origin], bool)


def reject(job_id: str, *, origin: str, why: str) -> Call[bool]:
    """Refuse a job of plain RQ from the queue `origin`: RQ shows it as failed."""
    return Call("reject", [job_id, origin, why], bool)


def tick(*, ttl: timedelta) -> Call[Tick]:
    """Do one step of the clock."""
    return Call("tick", [ms(ttl)], lambda answer: Tick(*answer))


def recover_lost(*, looks: int) -> Call[int]:
    """Look at the next `looks` jobs for ones that no list leads to, and put them back; answers how many."""
    return Call("recover_lost", [looks], int)


def fetch(job_id: str) -> Call[Job | None]:
    """Read a job's record."""
    return Call("HMGET", [JOB + job_id, *RECORD], _job, command=True)


def erase(job_ids: Sequence[str]) -> Call[int]:
    """Erase the records of those jobs that are finished; the answer is how many."""
    return Call("erase", list(job_ids), int)


def size(job_id: str) -> Call[int]:
    """Read how many bytes a job's record takes in Redis."""
    return Call("MEMORY USAGE", [JOB + job_id], lambda answer: int(answer or 0), command=True)


def now() -> Call[datetime]:
    """Read Redis's clock."""
    return Call("TIME", [], lambda answer: at(int(answer[0]) * 1000 + int(answer[1]) // 1000), command=True)


def drop_file(job_id: str) -> Call[bool]:
    """Forget the artefact of a job."""
    return Call("HDEL", [JOB + job_id, "file"], bool, command=True)


def hold(name: str, *, job_id: str, token: str) -> Call[bool]:
    """Take a named lock for as long as the job's lease lasts; False if another job holds it."""
    return Call("hold", [name, job_id, token], bool)


def leave(worker: str, queue: str, *, health: str = "") -> Call[int]:
    """Forget a worker that has stopped; with the last one goes arq's key `health`. Answers how many are left."""
    return Call("leave", [queue, worker, health], int)


def ring(queue: str) -> Call[int]:
    """Ring the bell of a queue: somebody heard it who has no room."""
    return Call("LPUSH", [BELL + queue, "1"], int, command=True)


def _status(answer: Any) -> Status | None:
    return Status(answer.decode()) if answer else None


def _claimed(answer: Any, due: timedelta | None = None) -> Claimed:
    # Anybody may have put them there: what is no UTF-8 is nobody's job, and must stop nobody.
    unknown = [Unknown(id_.decode(errors="replace"), queue.decode(), *record) for id_, queue, *record in answer[1]]
    return Claimed([_lease(item) for item in answer[0]], unknown, due)


def _lease(item: Any) -> Lease:
    id_, task, owner, payload, request_id, token = (text.decode() for text in item[:6])
    attempt, most, stream, throttled, suspect, native, created = item[6:]
    return Lease(
        id=id_,
        task=task,
        owner=owner,
        payload=payload,
        request_id=request_id,
        token=token,
        attempt=attempt,
        max_attempts=most,
        created_at=at(created),
        stream=stream == b"1",
        throttled=throttled,
        suspect=bool(suspect),
        native=native.decode(),
    )


def _job(answer: Any) -> Job | None:
    return Job.from_values(answer) if answer[0] is not None else None
