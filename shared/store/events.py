"""A job's events: a stream in Redis whose ids are the job's own sequence numbers, and a channel for live ones."""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from tandem.shared.jobs.events import Event, Extent, Kind
from tandem.shared.jobs.model import FINAL, Status
from tandem.shared.store.commands import Lease
from tandem.shared.store.scripts import EVENTS, JOB, WATCH, Call


def append(lease: Lease, entries: Sequence[tuple[Kind, dict[str, Any]]]) -> Call[bool]:
    """Append events to the attempt's job; False if the lease was lost and nothing was written."""
    parts = [part for kind, data in entries for part in (kind, json.dumps(data, ensure_ascii=False))]
    return Call("append", [lease.id, lease.token, secrets.token_hex(8), *parts], bool)


def read(job_id: str, *, after: int, count: int = 500) -> Call[list[Event]]:
    """Read the kept events with a sequence number above `after`, oldest first, at most `count`."""
    args = [EVENTS + job_id, f"({after}-0", "+", "COUNT", count]
    return Call("XRANGE", args, lambda answer: [_entry(item) for item in answer], command=True)


def extent(job_id: str) -> Call[Extent | None]:
    """Read how far a job's events go; None: no such job."""

    def parse(answer: Any) -> Extent | None:
        seq, status = answer
        return Extent(int(seq or 0), Status(status.decode()) in FINAL) if status else None

    return Call("HMGET", [JOB + job_id, "seq", "status"], parse, command=True)


def channel(job_id: str) -> str:
    """Name the channel on which a job's events are published as `seq kind data`."""
    return WATCH + job_id


def parse(message: bytes) -> Event:
    """Read a published event."""
    seq, kind, data = message.decode().split(" ", 2)
    return Event(int(seq), Kind(kind), data)


def _entry(item: Any) -> Event:
    entry_id, fields = item
    # redis-py answers with pairs in a dict, or flat when it does not know the command's shape.
    kind, data = next(iter(fields.items())) if isinstance(fields, dict) else fields[:2]
    return Event(int(entry_id.split(b"-")[0]), Kind(kind.decode()), data.decode())
