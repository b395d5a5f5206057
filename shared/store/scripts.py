"""The Lua behind the job book: its keys and numbers, each written once, here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from tandem.shared.jobs.model import TRANSITIONS

T = TypeVar("T")

JOB = "tandem:job:"
EVENTS = "tandem:events:"  # a stream for each job
WATCH = "tandem:watch:"  # pub/sub channel for each job
BELL = "tandem:bell:"
KEYS = {
    "JOB": JOB,
    "EVENTS": EVENTS,
    "WATCH": WATCH,
    "INDEX": "tandem:jobs",
    "OWNERS": "tandem:owners",
    "COUNTS": "tandem:queue:",
    "SHARES": "tandem:share:",
    "RATE": "tandem:rate:",
    "RPM": "tandem:rpm:",
    "IDEMPOTENCY": "tandem:idempotency:",
    "EXPIRING": "tandem:expiring",
    "FAILED": "tandem:failed:",
    "BELL": BELL,
    "TURN": "tandem:turn:",
    "FENCE": "tandem:fence",
    "LEASES": "tandem:leases:llm",
    "SUSPECTS": "tandem:suspects:llm",
    "ADOPTING": "tandem:adopting",
    "ORIGINS": "tandem:origins",
    "SENT": "tandem:sent:",
    "LOCK": "tandem:lock:",
    "SEEN": "tandem:seen",
    "ASKED": "tandem:asked:",
    "PAUSED": "tandem:paused",
    "WORKER": "tandem:worker:",
    "WORKERS": "tandem:workers:",
    "METRICS": "tandem:metrics",
    "DELIVERY": "tandem:delivery:",
    "DELIVERIES": "arq:queue:webhooks",
    "TRIMMED": "tandem:trimmed",
    "SWEPT": "tandem:swept",
}
RAN = "ran"  # in `arq:in-progress:<id>`: a cron job that is over
MAX_CRASHES = 3
SUSPECT_AFTER = MAX_CRASHES - 1
MAX_LOSSES = 6  # of a job together with its worker, in the asyncio pool of a suspect
LEASE = timedelta(seconds=6)  # a dead worker's jobs start elsewhere within 10 s, also on a busy machine
RENEW_EVERY = timedelta(seconds=1)  # also how soon a cancelled job's work is stopped
GAP = timedelta(seconds=3)  # without any call of any process: Redis was away
REPRIEVE = timedelta(seconds=3)  # after a gap, for the holders of leases to come back and renew
EVENTS_KEPT = 10_000  # of a job, about; older ones are dropped
WORKER_KEPT = timedelta(seconds=15)  # after its last heartbeat
ASKED_KEPT = timedelta(hours=1)  # an outage may be long, and the claim before it unanswered
DELIVERY_KEPT = timedelta(hours=48)  # a webhook is tried for 24 h
NUMBERS = {
    "MAX_CRASHES": MAX_CRASHES,
    "SUSPECT_AFTER": SUSPECT_AFTER,
    "MAX_LOSSES": MAX_LOSSES,
    "EVENTS_KEPT": EVENTS_KEPT,
}
# Of the histograms in /metrics, in ms.
BOUNDS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000)
DURATIONS = {
    "LEASE_MS": LEASE,
    "GAP_MS": GAP,
    "REPRIEVE_MS": REPRIEVE,
    "WORKER_KEPT_MS": WORKER_KEPT,
    "ASKED_KEPT_MS": ASKED_KEPT,
    "DELIVERY_KEPT_MS": DELIVERY_KEPT,
}


@dataclass(frozen=True)
class Call(Generic[T]):
    """One round trip: a script's or a command's name, its arguments, and how to read the answer."""

    name: str
    args: Sequence[Any]
    parse: Callable[[Any], T]
    command: bool = False


def ms(duration: timedelta) -> int:
    """Whole milliseconds."""
    return round(duration / timedelta(milliseconds=1))


ROOMS = ("jobs", "queues", "webhooks", "maintenance", "compat")


def names() -> list[str]:
    """List all scripts."""
    return sorted(_texts())


def source(script: str) -> str:
    """Give a script's Lua: the constants, the shared parts, the script."""
    parts = sorted((_folder() / "lib").iterdir(), key=lambda path: path.name)
    return "\n".join([_constants(), *(path.read_text() for path in parts), _texts()[script]])


@cache
def _texts() -> dict[str, str]:
    paths = [path for room in ROOMS for path in (_folder() / room).iterdir()]
    return {path.name.removesuffix(".lua"): path.read_text() for path in paths}


def _folder() -> Any:
    return files(__package__) / "lua"


def _constants() -> str:
    legal = ", ".join(
        f"{status} = {{{', '.join(f'{target} = true' for target in sorted(targets))}}}"
        for status, targets in TRANSITIONS.items()
    )
    lines = [f"local {name} = '{key}'" for name, key in {**KEYS, "RAN": RAN}.items()]
    numbers = {**NUMBERS, **{name: ms(duration) for name, duration in DURATIONS.items()}}
    lines += [f"local {name} = {value}" for name, value in numbers.items()]
    lines.append(f"local BOUNDS = {{{', '.join(map(str, BOUNDS))}}}")
    return "\n".join([*lines, f"local LEGAL = {{{legal}}}"])
