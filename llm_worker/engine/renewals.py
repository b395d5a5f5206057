"""The renewals of a worker with many leases: short calls, each a round trip of its own; others' pass between."""

from collections.abc import Sequence

from tandem.shared.store.leases import Lease, renew
from tandem.shared.store.scripts import Call

AT_ONCE = 100  # leases


def renewals(leases: Sequence[Lease], *, worker: str) -> list[Call[list[str]]]:
    """Prolong all leases of a worker, and show it; each call answers the ids of those that are lost."""
    starts = range(0, max(1, len(leases)), AT_ONCE)
    return [renew("llm", leases[at : at + AT_ONCE], worker=worker, first=at == 0) for at in starts]
