"""The limits of providers in the book: what operations answer, as the claim's limits do in one script with it.

All times are microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tandem.shared.store.scripts import LIMITS, Call, script

Operation = dict[str, Any]


@dataclass(frozen=True)
class Granted:
    """The request may be sent after `delay`."""

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
    """It stays parked for this long."""

    left: int


@dataclass(frozen=True)
class Park:
    """A provider's model that takes nothing: `busy`, as it said, or `down`. With nothing left it is tried again."""

    name: str
    kind: str
    left: int


@dataclass(frozen=True)
class Parks:
    """All that is parked."""

    parks: list[Park]


@dataclass(frozen=True)
class Done:
    """An operation that has nothing to say."""


Said = Granted | Waiting | TooLarge | Parked | Parks | Done


def operate(operations: Sequence[Operation]) -> Call[list[Said]]:
    """Do operations in their order (lua/limits/operate.lua); all of them bear repetition."""
    return _operate(operations=list(operations))


def list_parks() -> Call[list[Park]]:
    """List what is parked, 1,000 at most, what is free again soonest first."""
    call = operate([{"op": "parks"}])

    def read(answer: Any) -> list[Park]:
        [said] = call.parse(answer)
        return said.parks if isinstance(said, Parks) else []

    return Call(call.name, call.args, read)


@script("limits/operate", library=LIMITS)
def _operate(*, operations: list[Any]) -> list[Said]: ...


@script("limits/lift", library=LIMITS)
def lift(scope: str) -> bool:
    """End a park by the name of what is parked, `provider:model`; False: it is not parked."""
