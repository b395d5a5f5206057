"""The job book's calls as data (executor.py runs them): what anybody may do with a job, workers and clock apart."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs import texts
from tandem.shared.jobs.model import RECORD, Job, Status, at
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import ENGINES, RECORDS, Call, Flag, script
from tandem.shared.store.signature import ms

UNKNOWN_KEPT = timedelta(hours=1)
ANY_SIZE = 2**53
RESULT, OWNER = RECORD.index("result"), RECORD.index("owner")


def fetch(job_id: str) -> Call[Job | None]:
    """Read a job's record and result."""
    return fetch_bounded(job_id, most=ANY_SIZE)


def fetch_bounded(job_id: str, *, most: int) -> Call[Job | None]:
    """Read a job's record, without a result of more than `most` bytes."""
    call = _read(job_id, most, RECORD)
    return Call(call.name, call.args, lambda answer: _job(call.parse(answer)))


@script("jobs/read", library=(), flag=Flag.NO_WRITES)
def _read(id: str, most: int, fields: Sequence[str]) -> list[bytes | None]: ...


def _job(answer: list[bytes | None]) -> Job | None:
    *values, size = answer
    if values[0] is None:
        return None
    owner = (values[OWNER] or b"").decode(errors="replace")
    values[RESULT] = _plain(values[RESULT], size, owner)
    return Job.from_values(values, size)


def look_up(job_id: str) -> Call[Job | None]:
    """Read a job's record by a plain command, for who may run no scripts: without a result that stands apart."""
    return Call("HMGET", [Key.JOB + job_id, *RECORD, "result_bytes"], _job, command=True)


def look_up_result(job: Job) -> Call[Job]:
    """Read the result that `look_up` has left out; without one if it is gone."""

    def parse(kept: bytes | None) -> Job:
        return replace(job, result_json=_plain(kept, b"%d" % job.result_bytes, job.owner))

    return Call("GET", [Key.RESULT + job.id], parse, command=True)


def _plain(kept: bytes | None, size: bytes | None, owner: str = "") -> bytes | None:
    try:
        return None if kept is None else texts.unpack(kept, int(size or 0))
    except ValueError as error:
        raise UnreadableRecord(type(error).__name__, owner=owner) from error


def cancel(job_id: str, *, ttl: timedelta) -> Call[Status | None]:
    """End a job that waits or runs; answers the status that it had, final ones stay. None: no such job.

    The same call again, as its answer got lost, answers the same.
    """
    return _cancel(job_id, ttl=ttl, mark=token_hex(8))


@script("jobs/cancel")
def _cancel(job_id: str, *, ttl: timedelta, mark: str) -> Status | None: ...


def retry(job_id: str, *, only: Status | None = None, max_age: timedelta | None = None) -> Call[Status | None]:
    """Let a failed, cancelled or expired job wait again, attempts from zero; `max_age` counts anew.

    Answers the status that it had; any other one, or one that is not `only`, stays. None: no such job. The same call
    again, as its answer got lost, answers the same.
    """
    return _retry(job_id, only=only, max_age=max_age, mark=token_hex(8))


@script("jobs/retry", library=ENGINES, flag=Flag.NOTHING)
def _retry(job_id: str, *, only: Status | None, max_age: timedelta | None, mark: str) -> Status | None: ...


@script("jobs/erase", library=ENGINES)
def erase(job_id: str) -> bool:
    """Erase the record of a finished job, with its events; False: there is none, or it is unfinished."""


def read_input(job_id: str) -> Call[bytes | None]:
    """Read a job's input, JSON."""
    call = _read_input(job_id)
    return Call(call.name, call.args, lambda answer: _input(call.parse(answer)))


@script("jobs/read_input", library=(), flag=Flag.NO_WRITES)
def _read_input(id: str) -> list[bytes | None]: ...


def _input(answer: list[bytes | None]) -> bytes | None:
    if not answer:
        return None
    kept, size = answer
    return _plain(kept, size)


def drop_file(job_id: str) -> Call[bool]:
    """Forget the artefact of a job."""
    return Call("HDEL", [Key.JOB + job_id, "file"], bool, command=True)


def size(key: str) -> Call[int]:
    """Read how many bytes a key takes in Redis; 0 if it is not there."""
    return Call("MEMORY USAGE", [key], lambda answer: int(answer or 0), command=True)


def sizes(job_id: str) -> list[Call[int]]:
    """Read how many bytes a job's record and texts take in Redis."""
    return [size(key + job_id) for key in (Key.JOB, Key.PAYLOAD, Key.RESULT)]


def now() -> Call[datetime]:
    """Read Redis's clock."""
    return Call("TIME", [], lambda answer: at(int(answer[0]) * 1000 + int(answer[1]) // 1000), command=True)


@script("compat/abort")
def heed_aborts(*, ttl: timedelta) -> int:
    """Cancel the jobs that somebody aborted through `arq.jobs.Job`, 20 at a time; answers how many."""


def adopt(
    job_id: str,
    *,
    queue: str,
    task: str,
    payload: str,
    max_attempts: int,
    native: str,
    priority: str,
    origin: str | None = None,
    lane: str | None = None,
    max_age: timedelta | None = None,
) -> Call[bool]:
    """Take a job of plain arq or RQ (`native`; `origin` is its RQ queue) into the book; False if it is there."""
    text = texts.pack(payload)
    return _adopt(
        job_id,
        queue=queue,
        task=task,
        payload=text.kept,
        payload_bytes=text.bytes,
        max_attempts=max_attempts,
        native=native,
        priority=priority,
        origin=origin,
        lane=lane,
        max_age=max_age,
    )


@script("compat/adopt", library=ENGINES, flag=Flag.NOTHING)
def _adopt(
    job_id: str,
    *,
    queue: str,
    task: str,
    payload: bytes,
    payload_bytes: int,
    max_attempts: int,
    native: str,
    priority: str,
    origin: str | None,
    lane: str | None,
    max_age: timedelta | None,
) -> bool: ...


@script("compat/reject", library=ENGINES)
def reject(job_id: bytes, *, origin: str, why: str, shown: bool) -> bool:
    """Refuse a job of plain RQ from the queue `origin`; `shown`: RQ lists it as failed."""


def note_unknown_task(job_id: str) -> Call[bool]:
    """Say that a worker does not know the job's task; the first to say so starts the count, by Redis's clock."""
    return Call("SET", [Key.UNKNOWN + job_id, "1", "NX", "PX", ms(UNKNOWN_KEPT)], bool, command=True)


def unknown_task_age(job_id: str) -> Call[timedelta]:
    """Read how long ago `note_unknown_task` was first called."""

    def parse(answer: Any) -> timedelta:
        return (
            max(UNKNOWN_KEPT - timedelta(milliseconds=int(answer)), timedelta(0)) if int(answer) >= 0 else timedelta(0)
        )

    return Call("PTTL", [Key.UNKNOWN + job_id], parse, command=True)


@script("jobs/hold", library=RECORDS)
def hold(name: str, *, job_id: str, token: str) -> bool:
    """Take a named lock for as long as the job's lease lasts; False if another job holds it, or the lease is lost."""


def mark_sent_to(job_id: str, accepted: Sequence[str], *, ttl: timedelta) -> Call[bool]:
    """Note all addresses that the server has taken the mail for so far; `ttl` counts once the job has ended."""
    return _mark_sent(job_id, addresses=json.dumps(accepted), ttl=ttl)


@script("jobs/mark_sent", library=RECORDS)
def _mark_sent(job_id: str, *, addresses: str, ttl: timedelta) -> bool: ...


def find_sent_to(job_id: str) -> Call[list[str]]:
    """Read who has got the mail, in this attempt or an earlier one."""
    return Call("GET", [Key.SENT + job_id], _addresses, command=True)


def _addresses(answer: Any) -> list[str]:
    return [str(address) for address in json.loads(answer)] if answer else []
