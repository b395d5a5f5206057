"""What a worker knows of its leases: a process that was suspended has not heard yet what happened meanwhile.

Whoever sends a request asks here before: one for a job that was cancelled, or is another worker's, is paid for nothing.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping

from tandem.llm_worker.rate_limit.time_limit import standing_still
from tandem.shared.store import scripts
from tandem.shared.store.leases import Lease


class Tenure:
    """Until when each lease holds, as far as this process knows; `leases` are those that the worker has, by job id."""

    def __init__(self, leases: Mapping[str, Lease]) -> None:
        self._leases = leases
        self._until: dict[str, float] = {}  # by the lease's token, by the monotonic clock
        self._news = asyncio.Event()

    def hear(self, leases: Iterable[Lease], *, asked: float) -> None:
        """Note the answer to a claim or a renewal that was `asked` for then: it has brought, or prolonged, these."""
        kept = {lease.token for lease in self._leases.values()}
        self._until = {token: until for token, until in self._until.items() if token in kept}
        until = asked + (scripts.LEASE - scripts.RENEW_EVERY).total_seconds()
        self._until |= {lease.token: until for lease in leases}
        self._news.set()
        self._news = asyncio.Event()

    def knows(self, lease: Lease) -> bool:
        """Say whether a lease is known to hold."""
        return time.monotonic() < self._until.get(lease.token, 0.0)

    async def sure(self, lease: Lease) -> None:
        """Wait until a lease is known to hold; whose lease is lost is cancelled meanwhile."""
        while not self.knows(lease):
            with standing_still():
                await self._news.wait()


class TenureHold:
    """What one attempt knows of its lease."""

    def __init__(self, tenure: Tenure, lease: Lease) -> None:
        self._tenure, self._lease = tenure, lease

    @property
    def known(self) -> bool:
        """Whether the lease is known to hold."""
        return self._tenure.knows(self._lease)

    async def sure(self) -> None:
        """Wait until it is known to hold."""
        await self._tenure.sure(self._lease)
