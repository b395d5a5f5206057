"""What goes between a worker and the server of its isolated attempts: JSON objects one way, words the other, by line.

A command is `{"run": N, "lease": {…}}` or `{"signal": N, "number": 15}`; an answer is `N started`, `N ended CODE`, or
`N stood SECONDS`: how long its time limit has stood still so far.
"""

import mmap
import struct
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tandem.shared.store.leases import Lease


class SharedNumber:
    """A number that a process and those that it forks from then on can read and write."""

    FORMAT = "d"

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, struct.calcsize(self.FORMAT))

    @property
    def value(self) -> float:
        number: float = struct.unpack_from(self.FORMAT, self._memory)[0]
        return number

    @value.setter
    def value(self, number: float) -> None:
        struct.pack_into(self.FORMAT, self._memory, 0, number)


def lease_to_json(lease: Lease) -> dict[str, Any]:
    """Give a lease for another process."""
    return asdict(lease) | {"created_at": lease.created_at.isoformat()}


def lease_from_json(fields: dict[str, Any]) -> Lease:
    """Read what `lease_to_json` gave."""
    return Lease(**fields | {"created_at": datetime.fromisoformat(fields["created_at"])})
