"""Leases: a worker claims jobs, renews what it holds, and writes what became of each attempt."""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from tandem.shared.jobs import texts
from tandem.shared.jobs.model import Artefact, Status, Usage
from tandem.shared.jobs.retry import Decision, Fail, Failure, HandBack, RetryIn
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import CLAIM_LLM, CLAIM_SYNC, LEASE, Call, Ending, script
from tandem.shared.store.signature import Answer, Foreign

HOST = socket.gethostname()
OURS = Foreign("")  # the engine of jobs that came through the API


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to run one attempt of a job and to write its outcome, until it expires unrenewed.

    `throttled` counts how often a provider's rate limit sent the job back; `suspect` says that it crashed
    twice and runs in a process of its own; `native` names the engine through which it came, if not through us.
    `granted` is the provider and model whose limits its first request has passed already, to be sent in `delay` ms.
    `problem` says what of it can't be read, if anything: then the attempt fails with that, and nothing else holds.
    """

    id: Foreign
    task: Foreign
    owner: Foreign
    payload: str
    request_id: Foreign
    token: str
    attempt: int
    max_attempts: int
    created_at: datetime
    stream: bool = False
    throttled: int = 0
    suspect: bool = False
    native: Foreign = OURS
    granted: Foreign = OURS
    delay: float = 0.0
    problem: str = ""
    payload_bytes: int = 0


_NAMES = tuple(field.name for field in fields(Lease))
_read: Callable[[Any], Lease] = Answer(Lease).read


@dataclass(frozen=True)
class Unknown:
    """A queue entry that is not in the job book, its queue in its engine, and what arq keeps of it.

    Anybody may have written it: what is no UTF-8 names its job in `raw` alone.
    """

    raw: bytes
    queue: str
    record: bytes = b""

    @property
    def is_text(self) -> bool:
        return self.id.encode() == self.raw

    @property
    def id(self) -> str:
        return self.raw.decode(errors="replace")


@dataclass(frozen=True)
class Claimed:
    """What a claim brought: leases, entries that are not in the job book, and when the next job is due."""

    leases: list[Lease]
    unknown: list[Unknown]
    next_due: timedelta | None = None


@dataclass(frozen=True)
class Success:
    """An attempt that ended well; `result` is JSON, or the file that holds it."""

    result: str | Artefact
    provider: str | None = None
    file: Artefact | None = None


class Held(NamedTuple):
    """A lease that its holder renews."""

    id: str
    token: str


@dataclass(frozen=True)
class Claim(Call[Claimed]):
    """A claim, with the name by which it is asked again or disclaimed when no answer came."""

    claim: str = ""


def _named(call: Call[Claimed], claim: str) -> Claim:
    return Claim(call.name, call.args, partial(_read_claimed, call.parse), claim=claim)


def _read_claimed(read: Callable[[Any], Claimed], answer: Any) -> Claimed:
    """Read each lease by itself: one that can't be read must not take its neighbours' runs away."""
    leases, *rest = answer
    return replace(read([[], *rest]), leases=[_read_lease(values) for values in leases])


def _read_lease(values: list[Any]) -> Lease:
    given = dict(zip(_NAMES, values, strict=True))
    try:
        given["payload"] = texts.unpack(given["payload"], int(given["payload_bytes"] or 0))
        return _read(list(given.values()))
    except Exception as error:  # noqa: BLE001 - whatever it is, its own job has to fail of it
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else type(error).__name__
        return _unreadable(given, f"its record can not be read: {what}")


def _unreadable(values: dict[str, Any], problem: str) -> Lease:
    """Make a lease with which the job can be failed."""
    names = ("id", "task", "owner", "request_id", "token", "native")
    said: dict[str, Any] = {name: (values[name] or b"").decode(errors="replace") for name in names}
    attempt, never = int(values["attempt"]), datetime.fromtimestamp(0, UTC)
    return Lease(**said, payload="", attempt=attempt, max_attempts=attempt, created_at=never, problem=problem)


Models = dict[str, Any]
NO_MODELS: Mapping[str, Any] = {"known": {}, "provider": "", "levels": []}


def claim_llm(
    *, worker: str, limit: int, ttl: timedelta, suspects: int = 0, idle: int = 0, models: Mapping[str, Any] = NO_MODELS
) -> Claim:
    """Claim up to `limit` jobs of the asyncio pool that may start now; `suspects` of them may be suspects.

    As long as jobs that are not idle wait, idle ones get nothing beyond the first `idle` places, none if that is
    negative. `models` says what limits the models (`shared/limits/scopes.py`).

    Without an answer run this very call again, until there is one: what it had leased unheard goes back first.
    """
    claim = uuid4().hex
    return _named(_claim_llm(worker, LEASE, ttl, limit, suspects, idle, claim, dict(models)), claim)


@script("jobs/claim_llm", library=CLAIM_LLM, adds_up=True)
def _claim_llm(
    worker: str, lease: timedelta, ttl: timedelta, limit: int, suspects: int, idle: int, claim: str, models: Models
) -> Claimed: ...


def claim_sync(*, worker: str, ttl: timedelta, queues: Sequence[str] = ()) -> Claim:
    """Claim the next job of the forking pool; `queues` are further queues of plain RQ to serve.

    Without an answer run this very call again, as with `claim_llm`.
    """
    claim = uuid4().hex
    return _named(_claim_sync(worker=worker, lease=LEASE, ttl=ttl, claim=claim, origins=queues), claim)


@script("jobs/claim_sync", library=CLAIM_SYNC)
def _claim_sync(*, worker: str, lease: timedelta, ttl: timedelta, claim: str, origins: Sequence[str]) -> Claimed: ...


def disclaim(queue: str, claim: Claim, *, worker: str) -> Call[int]:
    """Give back what a claim leased that got no answer: its worker ends. Answers how many jobs.

    What can't be told so before the worker has to end comes back when its lease is over, without a burnt attempt, as
    long as the outage was one for all (`give_back_expired` in lua/lib/transitions.lua).
    """
    return _disclaim(queue=queue, worker=worker, claim=claim.claim)


@script("jobs/disclaim", library=CLAIM_LLM)
def _disclaim(*, queue: str, worker: str, claim: str) -> int: ...


def renew(queue: str, leases: Sequence[Lease], *, worker: str, first: bool = True) -> Call[list[str]]:
    """Prolong a worker's leases, all or more after a `first` call, and show it; answers the ids of lost ones."""
    held = [Held(lease.id, lease.token) for lease in leases]
    return _renew(queue, LEASE, worker, HOST, os.getpid(), first=first, held=held)


@script("jobs/renew")
def _renew(
    queue: str, lease: timedelta, worker: str, host: str, pid: int, *, first: bool, held: Sequence[Held]
) -> list[str]: ...


def succeed(lease: Lease, success: Success, *, usage: Usage, ttl: timedelta) -> Call[bool]:
    """Write a result; False if the lease was lost and nothing was written."""
    fields = ["provider", success.provider] if success.provider else []
    for name, file in (("file", success.file), ("result_file", success.result)):
        if isinstance(file, Artefact):
            fields += [name, json.dumps(asdict(file))]
    result, is_read_by_arq = None, lease.native == "arq"  # its own clients take it as it is kept
    if isinstance(success.result, str):
        result = texts.pack(success.result, compress=not is_read_by_arq)
    return _end(lease, Status.SUCCEEDED, usage=usage, ttl=ttl, fields=fields, result=result)


def give_up(lease: Lease, decision: Decision, *, usage: Usage, ttl: timedelta) -> Call[bool]:
    """Write what follows from a failed attempt; False if the lease was lost and nothing was written."""
    match decision:
        case HandBack(delay):
            return _end(lease, _back(decision), usage=usage, ttl=ttl, delay=delay)
        case RetryIn(delay, failure):
            return _end(lease, Ending.RETRY, usage=usage, ttl=ttl, delay=delay, failure=failure)
        case Fail(failure):
            return _end(lease, Status.FAILED, usage=usage, ttl=ttl, failure=failure)


def _back(how: HandBack) -> Ending:
    if not (how.known and how.begun):
        return Ending.NOT_BEGUN if how.known else Ending.TASK_UNKNOWN
    return Ending.THROTTLED if how.throttled else Ending.HAND_BACK


def crash(lease: Lease, *, ttl: timedelta, delay: timedelta) -> Call[bool]:
    """Write that the attempt's own process died; the third time the job is failed as `crash_loop`."""
    return _end(lease, Ending.CRASH, usage=Usage(), ttl=ttl, delay=delay)


def lose(lease: Lease, *, ttl: timedelta) -> Call[bool]:
    """Write that the attempt went with what it shared with others: as if its lease were over, but now."""
    return _end(lease, Ending.LOSS, usage=Usage(), ttl=ttl)


def _end(
    lease: Lease,
    ending: Status | Ending,
    *,
    usage: Usage,
    ttl: timedelta,
    delay: timedelta = timedelta(0),
    failure: Failure | None = None,
    result: texts.Text | None = None,
    fields: Sequence[str] = (),
) -> Call[bool]:
    attempt = None
    if failure:
        said = asdict(failure)
        trace = said.pop("trace")
        entry = {"attempt": lease.attempt, "type": failure.type, "message": failure.message}
        attempt = json.dumps({**entry, "trace": trace} if trace else entry)
        fields = ["error", json.dumps(said)]
    return _finish(
        id=lease.id,
        token=lease.token,
        ending=ending,
        delay=delay,
        ttl=ttl,
        attempt=attempt,
        result=result and result.kept,
        result_bytes=result and result.bytes,
        fields=fields,
        **asdict(usage),
    )


@script("jobs/finish", in_groups=True)
def _finish(
    *,
    id: str,
    token: str,
    ending: str,
    delay: timedelta,
    ttl: timedelta,
    attempt: str | None,
    result: bytes | None,
    result_bytes: int | None,
    input_tokens: int,
    output_tokens: int,
    requests: int,
    estimated_tokens: int,
    fields: Sequence[str],
) -> bool: ...


def ended_in_order(lease: Lease) -> Call[bool]:
    """Say whether a lease that holds no more was ended by a cancel or by its own outcome: nothing went wrong then."""

    def parse(answer: Any) -> bool:
        stopped, done, status = answer
        return status is None or lease.token.encode() in {stopped, *(done or b"").split()}  # None: it was erased

    return Call("HMGET", [Key.JOB + lease.id, "stopped", "done", "status"], parse, command=True)
