"""How long workers have met a job whose task they do not know: by Redis's clock, over all workers together."""

from datetime import timedelta
from typing import Any

from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import Call
from tandem.shared.store.signature import ms

KEPT = timedelta(hours=1)


def note(job_id: str) -> Call[bool]:
    """Say that a worker does not know the job's task; the first to say so starts the count."""
    return Call("SET", [Key.UNKNOWN + job_id, "1", "NX", "PX", ms(KEPT)], bool, command=True)


def age(job_id: str) -> Call[timedelta]:
    """Read how long ago `note` was first called."""

    def parse(answer: Any) -> timedelta:
        return max(KEPT - timedelta(milliseconds=int(answer)), timedelta(0)) if int(answer) >= 0 else timedelta(0)

    return Call("PTTL", [Key.UNKNOWN + job_id], parse, command=True)


def forget(job_id: str) -> Call[bool]:
    """End the count: the job is given up, and starts anew if somebody retries it."""
    return Call("DEL", [Key.UNKNOWN + job_id], bool, command=True)
