"""A job as the job book keeps it, and the table of its legal transitions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from tandem.shared.errors import UnreadableRecord


class Status(StrEnum):
    """Where a job is in its life; the last four are final."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


WAITING = frozenset({Status.SCHEDULED, Status.QUEUED})
FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})

# from -> to. Nothing leaves a final status but by a retry that somebody asks for.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.EXPIRED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.EXPIRED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SCHEDULED, Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
    Status.EXPIRED: frozenset({Status.QUEUED}),
}


@dataclass(frozen=True)
class Usage:
    """Tokens and requests that a job cost, over all its attempts.

    `estimated_tokens` are those among them that no provider told: of answers that were broken off.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    estimated_tokens: int = 0


@dataclass(frozen=True)
class Artefact:
    """A file that a job made; `key` is its place in the file store."""

    key: str
    name: str
    media_type: str
    bytes: int
    sha256: str


TOO_DEEP = "nested too deep to be shown here"

# The fields of the record's hash that are shown. The input is not: it may be huge.
RECORD = (
    "id",
    "task",
    "queue",
    "owner",
    "status",
    "priority",
    "attempt",
    "max_attempts",
    "created_at",
    "run_at",
    "estimated_start",
    "started_at",
    "finished_at",
    "progress",
    "result",
    "result_file",
    "error",
    "attempts",
    "usage_input",
    "usage_output",
    "usage_requests",
    "usage_estimated",
    "provider",
    "file",
    "deliveries",
    "request_id",
    "url",
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's record. Times are UTC by Redis's clock, to the millisecond; JSON fields are decoded.

    A `status` that is none of ours is a newer version's: it is passed on, and neither waiting nor final.

    The result stays the JSON that was stored: it may be huge, and most readers pass it on. `result_bytes` is its
    length, also where it was not read. A large one is a file, `result_file`. `result_lost`: who wanted to read it found
    it gone. `url` is its page in the API, known only where a webhook has to name it.
    """

    id: str
    task: str
    queue: str
    owner: str
    status: Status | str
    priority: str
    attempt: int
    max_attempts: int
    created_at: datetime
    run_at: datetime | None = None
    estimated_start: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: dict[str, Any] | None = None
    result_json: bytes | None = None
    result_bytes: int = 0
    result_file: Artefact | None = None
    result_lost: bool = False
    error: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    provider: str | None = None
    file: Artefact | None = None
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    request_id: str | None = None
    url: str | None = None

    @property
    def finished(self) -> bool:
        return self.status in FINAL

    @property
    def waiting(self) -> bool:
        return self.status in WAITING

    @property
    def result_omitted(self) -> bool:
        return self.result_json is None and self.result_bytes > 0 and not self.result_lost

    @cached_property
    def result(self) -> Any:
        return None if self.result_json is None else _decode(self.result_json.decode(errors="replace"))

    @classmethod
    def from_values(cls, values: Sequence[bytes | None], size: bytes | None = None) -> Self:
        """Read the values of RECORD from the record's Redis hash; None where it has no such field.

        `size` is its result's length, where the result is not read with it. Raises UnreadableRecord.
        """
        try:
            return cls._read(values, int(size) if size else None)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise UnreadableRecord(type(error).__name__, owner=_owner(values)) from error

    @classmethod
    def _read(cls, values: Sequence[bytes | None], result_bytes: int | None) -> Self:
        stored = {name: value for name, value in zip(RECORD, values, strict=True) if value is not None}
        result = stored.pop("result", None)
        text = {name: value.decode() for name, value in stored.items()}
        result_file = _artefact(text, "result_file")
        if result_file:
            result_bytes = result_file.bytes
        return cls(
            id=text["id"],
            task=text["task"],
            queue=text["queue"],
            owner=text["owner"],
            status=_status(text["status"]),
            priority=text["priority"],
            attempt=int(text["attempt"]),
            max_attempts=int(text["max_attempts"]),
            created_at=at(text["created_at"]),
            run_at=_time(text, "run_at"),
            estimated_start=_time(text, "estimated_start"),
            started_at=_time(text, "started_at"),
            finished_at=_time(text, "finished_at"),
            progress=_object(text, "progress"),
            result_json=result,
            result_bytes=len(result or b"") if result_bytes is None else result_bytes,
            result_file=result_file,
            error=_object(text, "error"),
            attempts=[_attempt(entry) for entry in json.loads(f"[{text.get('attempts', '')}]")],
            usage=Usage(*(int(text.get(f"usage_{name}", 0)) for name in ("input", "output", "requests", "estimated"))),
            provider=text.get("provider"),
            file=_artefact(text, "file"),
            deliveries=[entry for _, entry in sorted((_object(text, "deliveries") or {}).items())],
            request_id=text.get("request_id"),
            url=text.get("url"),
        )


def _owner(values: Sequence[bytes | None]) -> str:
    return (values[RECORD.index("owner")] or b"").decode(errors="replace")


def _status(text: str) -> Status | str:
    return Status(text) if text in frozenset(Status) else text


def at(milliseconds: str | int) -> datetime:
    """Milliseconds since 1970 to a UTC datetime."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _time(fields: Mapping[str, str], name: str) -> datetime | None:
    return at(fields[name]) if name in fields else None


def _json(fields: Mapping[str, str], name: str) -> Any:
    return _decode(fields[name]) if name in fields else None


def _object(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    value = _json(fields, name)
    if value is None or isinstance(value, dict):
        return value
    raise TypeError(name)


def _artefact(text: Mapping[str, str], name: str) -> Artefact | None:
    """Read what we know of a file; a newer version may say more."""
    if name not in text:
        return None
    stored = json.loads(text[name])
    return Artefact(**{each.name: stored[each.name] for each in fields(Artefact)})


def _decode(text: str) -> Any:
    """Decode what is to be shown; half a character, a lone surrogate, becomes a question mark."""
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except RecursionError:
        return TOO_DEEP
    return value


def _attempt(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "at": iso(at(entry["at"]))}


def iso(moment: datetime) -> str:
    """Format as ISO 8601 UTC with milliseconds and a `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
