"""What the config file says of tenants and tasks, in Redis: weights, and how many of their jobs may run at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tandem.shared.store.scripts import ENGINES, RECORDS, Flag, script


class Row(NamedTuple):
    """A weight as `weight:<tenant>`, or how many may run as `<queue>:<tenant>` or `task:<task>`."""

    field: str
    value: float


@script("limits/set_fairness", library=ENGINES)
def set_fairness(*, digest: str, process_began: datetime | None, rows: Sequence[Row]) -> datetime:
    """Let these hold, all of them, unless a process that began later has said others.

    `process_began` is when that of the caller did, None where this is the first call, which answers it.
    """


@script("limits/is_fairness_kept", library=RECORDS, flag=Flag.NO_WRITES)
def is_fairness_kept(*, digest: str, process_began: datetime, size: int) -> bool:
    """Say whether those hold that a process has said, so many rows, or those of one that began later."""
