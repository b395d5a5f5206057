"""What a worker does every second: it renews its leases, and learns which jobs are not its own any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from tandem.shared.store import commands, leases, scripts
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.leases import Lease

log = logging.getLogger("tandem.llm_worker")

SHOWN_EVERY = 5  # heartbeats of an idle worker


class Heartbeat:
    """Beats in the background.

    `leases` are those that the worker holds, by job id; `lost` is told the id of a job that was cancelled or whose
    lease was lost; `besides` is what else there is to do at each beat.
    """

    def __init__(
        self,
        book: AsyncBook,
        *,
        worker: str,
        ttl: timedelta,
        leases: Mapping[str, Lease],
        lost: Callable[[str], None],
        besides: Callable[[], Awaitable[None]],
    ) -> None:
        self._book = book
        self._worker = worker
        self._ttl = ttl
        self._leases = leases
        self._lost = lost
        self._besides = besides
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._task = asyncio.create_task(self._keep_beating(), name="heartbeat")

    def stop(self) -> None:
        """End the beating."""
        if self._task:
            self._task.cancel()

    async def _keep_beating(self) -> None:
        beat = 0
        while True:
            try:
                await self._renew(shown=beat % SHOWN_EVERY == 0)
                await self._besides()
            except Exception as error:  # noqa: BLE001 - without renewals every job would be lost
                log.warning("leases not renewed: %s", error)
            beat += 1
            await asyncio.sleep(scripts.RENEW_EVERY.total_seconds())

    async def _renew(self, *, shown: bool) -> None:
        """Prolong the leases of all running jobs; an idle worker does it only now and then, to be `shown`."""
        aborts = asyncio.ensure_future(self._book.run(commands.heed_aborts(ttl=self._ttl)))
        lost: list[str] = []
        if self._leases or shown:
            lost = await self._book.run(leases.renew("llm", list(self._leases.values()), worker=self._worker))
        await aborts
        for job_id in lost:
            self._lost(job_id)
