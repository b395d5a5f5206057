"""What can be told of a job while it lives: its events."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an event tells. `end` carries nothing: its reader adds the finished job."""

    STATUS = "status"
    PROGRESS = "progress"
    ATTEMPT = "attempt"
    DELTA = "delta"
    END = "end"


@dataclass(frozen=True)
class Event:
    """One event; `data` is a JSON object."""

    seq: int
    kind: Kind
    data: str


@dataclass(frozen=True)
class Extent:
    """How many events a job has had, over all its lives, and whether more may come."""

    seq: int
    finished: bool
