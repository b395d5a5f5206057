"""A job's events: a stream in Redis whose ids are the job's own sequence numbers, and a channel for live ones."""

import json
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from tandem.shared.jobs.events import Event, Extent, Kind
from tandem.shared.jobs.model import FINAL
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import RECORDS, Call, Flag, script


def append(lease: Lease, entries: Sequence[tuple[Kind, dict[str, Any]]]) -> Call[bool]:
    """Append events to the attempt's job; False if the lease was lost and nothing was written."""
    written = [Written(kind, json.dumps(data, ensure_ascii=False)) for kind, data in entries]
    return _append(lease.id, lease.token, secrets.token_hex(8), written)


class Written(NamedTuple):
    """An event on its way; `data` is a JSON object."""

    kind: Kind
    data: str


@script("jobs/append", library=RECORDS, flag=Flag.NOTHING)
def _append(id: str, token: str, mark: str, events: Sequence[Written]) -> bool: ...


def read(job_id: str, *, after: int, count: int = 500) -> Call[list[Event]]:
    """Read the kept events with a sequence number above `after`, oldest first, at most `count`."""
    args = [Key.EVENTS + job_id, f"({after}-0", "+", "COUNT", count]
    return Call("XRANGE", args, lambda answer: [_entry(item) for item in answer], command=True)


def extent(job_id: str) -> Call[Extent | None]:
    """Read how far a job's events go; None: no such job."""

    def parse(answer: Any) -> Extent | None:
        seq, status = answer
        return Extent(int(seq or 0), status.decode() in FINAL) if status else None

    return Call("HMGET", [Key.JOB + job_id, "seq", "status"], parse, command=True)


def channel(job_id: str) -> str:
    """Name the channel on which a job's events are published as `seq kind data`."""
    return Key.WATCH + job_id


def parse(message: bytes) -> Event:
    """Read a published event."""
    seq, kind, data = message.decode().split(" ", 2)
    return Event(int(seq), Kind(kind), data)


def _entry(item: Any) -> Event:
    entry_id, fields = item
    # redis-py answers with pairs in a dict, or flat when it does not know the command's shape.
    kind, data = next(iter(fields.items())) if isinstance(fields, dict) else fields[:2]
    return Event(int(entry_id.split(b"-")[0]), Kind(kind.decode()), data.decode())
