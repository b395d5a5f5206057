"""A job's events: transitions from its record, the others from a stream, and a channel for live ones."""

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from tandem.shared.jobs.events import Event, Extent, Kind
from tandem.shared.jobs.model import FINAL, Status, at, iso
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import RECORDS, Call, Flag, script
from tandem.shared.store.signature import Foreign

# Its time is in ms, counted from 1970, or with a sign from when the job was submitted.
TRANSITION = re.compile(r"([a-z]+) (-?[0-9]{1,15}) (\+?)(-?[0-9]{1,14})")


CREATED = re.compile(r"[0-9]{1,14}")


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
    call = _read(job_id, after, count)
    return Call(call.name, call.args, lambda answer: _merged(call.parse(answer), after)[:count])


class Transition(NamedTuple):
    """The events of one transition: the first one's number, and `status attempt time`."""

    first: int
    text: Foreign


class Kept(NamedTuple):
    """What the record keeps, and what the stream does; `created_at` is in ms since 1970."""

    created_at: Foreign | None
    transitions: list[Transition]
    entries: list[Event]


@script("jobs/read_events", library=(), flag=Flag.NO_WRITES)
def _read(id: str, after: int, count: int) -> Kept: ...


def _merged(kept: Kept, after: int) -> list[Event]:
    created = kept.created_at if kept.created_at and CREATED.fullmatch(kept.created_at) else ""
    told = [event for transition in kept.transitions for event in _told(*transition, created=created)]
    return sorted((event for event in [*told, *kept.entries] if event.seq > after), key=lambda event: event.seq)


def _told(first: int, text: str, *, created: str = "") -> list[Event]:
    """Give the events of a transition; none if somebody has spoilt it, or when its job was submitted."""
    if not (parts := TRANSITION.fullmatch(text)):
        return []
    status, attempt, is_later, time = parts.groups()
    if is_later and not created:
        return []
    moment = at(int(time) + (int(created) if is_later else 0))
    data = f'{{"status":"{status}","attempt":{attempt},"at":"{iso(moment)}"}}'
    events = [Event(first, Kind.STATUS, data)]
    if status == Status.RUNNING:
        events.append(Event(first + 1, Kind.ATTEMPT, f'{{"attempt":{attempt}}}'))
    elif status in FINAL:
        events.append(Event(first + 1, Kind.END, "{}"))
    return events


def extent(job_id: str) -> Call[Extent | None]:
    """Read how far a job's events go; None: no such job."""

    def parse(answer: Any) -> Extent | None:
        seq, status = answer
        last = int(seq) if seq and seq.isdigit() else 0  # or somebody has spoilt it
        return Extent(last, status.decode() in FINAL) if status else None

    return Call("HMGET", [Key.JOB + job_id, "seq", "status"], parse, command=True)


def channel(job_id: str) -> str:
    """Name the channel on which a job's events are published, as `seq kind data` or `0 kind first transition`."""
    return Key.WATCH + job_id


def parse(message: bytes) -> list[Event]:
    """Read what was published: an event, or those of a transition."""
    seq, kind, data = message.decode().split(" ", 2)
    if seq != "0":
        return [Event(int(seq), Kind(kind), data)]
    first, text = data.split(" ", 1)
    return _told(int(first), text)
