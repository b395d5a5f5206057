"""The limiter's script: its keys and numbers, how it is put together, and what it answers."""

from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any

from tandem.shared.store.keys import Key
from tandem.shared.store.signature import Answer, Arguments, constants

LEASE = timedelta(seconds=10)
US = timedelta(microseconds=1)
PARKED = "tandem:parked"
# Why something is parked, and news of a failure that parks nothing yet.
BUSY, DOWN, FAILED = "busy", "down", "failed"

KEYS = {
    "LIMIT": "tandem:limit:level:",
    "HELD": "tandem:limit:held:",
    "QUEUE": "tandem:limit:queue:",
    "RESERVED": "tandem:limit:reserved",
    "DEADLINES": "tandem:limit:deadlines",
    "PARK": "tandem:park:",
    "PARKS": "tandem:limit:parks",
    "FAILING": "tandem:limit:failing:",
    "TIME": "tandem:limit:time",
    "PARKED": PARKED,
    "METRICS": Key.METRICS,
}
NUMBERS = {
    "MINUTE": timedelta(minutes=1) // US,
    "LEASE": LEASE // US,
    "DEPTH": 0.005,  # of a minute's limit: what an idle bucket lets through at once
    "NEAR": 500_000,  # a start so near is granted at once, to be slept until
    "LEAD": 500_000,  # so long before its start somebody who waits is asked to come back, at least
    "LEAD_PLACES": 3,  # the same in places: who is late, or dead, leaves its start to one of those who are there
    "LONGEST_LEAD": 2_000_000,
    "LATE": 1_000_000,  # a start so much later than its place is better than a new place
    "EARLY": 20_000,  # who comes so much too early is let in
    "NEAR_SLOTS": 100_000,  # a slot must not be held by somebody who sleeps
    "SHORTEST": 50_000,  # between two looks of who waits for a slot
    "SLOT_HASTE": 0.8,  # of the mean time to one's turn
    "HASTE": 0.97,  # of the time to a booked place by tokens
    "SECOND": 1_000_000,
    "URGENT": timedelta(days=1) // US,  # older than anybody who waits
    "LONGEST_WAIT": timedelta(hours=6) // US,
    "LAPSED": timedelta(minutes=10) // US,  # who missed a booked time, but comes by then, goes before new ones
    "LEARN": 0.1,  # weight of the newest in a mean
    "SAMPLES": 50,  # settlements that the mean of what reservations use is taken over
    "LEAST_SHARE": 0.01,
    "MOST_SHARE": 50,
    "COLD": 3,  # settlements until that mean is trusted
    "COLD_WAIT": timedelta(seconds=2) // US,
    "RAMP": 20_000,  # between two starts after a park
    "RAMP_LENGTH": 500,
    "FIRST_PARK": timedelta(seconds=1) // US,  # where the provider does not say how long; doubled each time
    "LONGEST_PARK": timedelta(seconds=60) // US,
    "PARK_MEMORY_MS": 60_000,
    "FAILURES": 3,  # jobs in a row that got no answer: then it is the provider that is down
    "FAILING_MS": 600_000,  # so long the first of them is remembered
    "FIRST_PAUSE": timedelta(seconds=1) // US,  # of a provider that is down; doubled each time, until it answers
    "LONGEST_PAUSE": timedelta(seconds=5) // US,
    "TTL_MS": 86_400_000,
}
KINDS = {"BUSY": BUSY, "DOWN": DOWN, "FAILED": FAILED}
CLOCK = "local function now_us() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end"


@dataclass(frozen=True)
class Granted:
    """The request may be sent after `delay`, in microseconds as all times here."""

    delay: int


@dataclass(frozen=True)
class Waiting:
    """It is to come again after `delay`; `reason` is the limit that it waits for, or `parked`."""

    delay: int
    reason: str


@dataclass(frozen=True)
class TooLarge:
    """A limit, by its name, allows less in a whole minute."""

    name: str
    limit: int


@dataclass(frozen=True)
class Parked:
    """What was parked stays so for this long."""

    left: int


@dataclass(frozen=True)
class Park:
    """Something that is parked."""

    name: str
    left: int
    kind: str


@dataclass(frozen=True)
class Parks:
    """All that is parked."""

    parks: list[Park]


@dataclass(frozen=True)
class Done:
    """An operation that has nothing to say."""


Said = Granted | Waiting | TooLarge | Parked | Parks | Done


def _operate(operations: list[Any]) -> list[Said]: ...  # type: ignore[empty-body]  # the script's signature


ARGUMENTS = Arguments(_operate)
ANSWER = Answer(list[Said])


def source(clock: str = CLOCK) -> str:
    """Give the script: constants, clock, arithmetic, operations."""
    folder = files(__package__) / "lua"
    head = [constants({**KEYS, **NUMBERS, **KINDS}), ANSWER.lua(), clock, ARGUMENTS.lua()]
    return "\n".join([*head, *((folder / name).read_text() for name in ("gcra.lua", "limiter.lua", "parks.lua"))])
