"""What goes between a worker and the server of its isolated attempts: JSON objects one way, words the other, by line.

A command is `{"run": N, "lease": {…}}` or `{"signal": N, "number": 15}`; an answer is `N started` or `N ended CODE`.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from tandem.shared.store.leases import Lease


def lease_to_json(lease: Lease) -> dict[str, Any]:
    """Give a lease for another process."""
    return asdict(lease) | {"created_at": lease.created_at.isoformat()}


def lease_from_json(fields: dict[str, Any]) -> Lease:
    """Read what `lease_to_json` gave."""
    return Lease(**fields | {"created_at": datetime.fromisoformat(fields["created_at"])})
