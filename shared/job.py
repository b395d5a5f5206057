"""A job as the job book keeps it, and the table of its legal transitions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self


class Status(StrEnum):
    """Where a job is in its life; the last four are final."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})

# from -> to. Nothing leaves a final status but by a retry that somebody asks for.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED, Status.EXPIRED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.EXPIRED}),
    Status.RUNNING: frozenset(
        {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SCHEDULED, Status.QUEUED, Status.RUNNING}
    ),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
    Status.EXPIRED: frozenset({Status.QUEUED}),
}


@dataclass(frozen=True)
class Usage:
    """Tokens and requests that a job cost, over all its attempts."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0


@dataclass(frozen=True)
class Artefact:
    """A file that a job made; `key` is its place in the file store."""

    key: str
    name: str
    media_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's record. Times are UTC by Redis's clock, to the millisecond; JSON fields are decoded."""

    id: str
    task: str
    queue: str
    owner: str
    status: Status
    priority: str
    attempt: int
    max_attempts: int
    created_at: datetime
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    payload: str = "{}"
    result: Any = None
    error: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    provider: str | None = None
    file: Artefact | None = None
    request_id: str | None = None

    @property
    def finished(self) -> bool:
        return self.status in FINAL

    @classmethod
    def from_hash(cls, fields: Mapping[bytes, bytes]) -> Self:
        """Read the record's Redis hash."""
        text = {key.decode(): value.decode() for key, value in fields.items()}
        return cls(
            id=text["id"],
            task=text["task"],
            queue=text["queue"],
            owner=text["owner"],
            status=Status(text["status"]),
            priority=text["priority"],
            attempt=int(text["attempt"]),
            max_attempts=int(text["max_attempts"]),
            created_at=at(text["created_at"]),
            run_at=at(text["run_at"]) if "run_at" in text else None,
            started_at=at(text["started_at"]) if "started_at" in text else None,
            finished_at=at(text["finished_at"]) if "finished_at" in text else None,
            payload=text["payload"],
            result=json.loads(text["result"]) if "result" in text else None,
            error=json.loads(text["error"]) if "error" in text else None,
            attempts=[_attempt(entry) for entry in json.loads(f"[{text.get('attempts', '')}]")],
            usage=Usage(*(int(text.get(f"usage_{name}", 0)) for name in ("input", "output", "requests"))),
            provider=text.get("provider"),
            file=Artefact(**json.loads(text["file"])) if "file" in text else None,
            request_id=text.get("request_id"),
        )


def at(milliseconds: str | int) -> datetime:
    """Milliseconds since 1970 to a UTC datetime."""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _attempt(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "at": iso(at(entry["at"]))}


def iso(moment: datetime) -> str:
    """Format as ISO 8601 UTC with milliseconds and a `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
