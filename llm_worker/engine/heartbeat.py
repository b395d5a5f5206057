"""What a worker does every second: it renews its leases, and learns which jobs are not its own any more.

What else there is to do at each beat does not hold the renewals up: it uses other connections, which may be dead.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any

from tandem.llm_worker.engine.renewals import renewals
from tandem.llm_worker.engine.tenure import Tenure
from tandem.shared.runtime.outage import Outage
from tandem.shared.store import commands, scripts
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import Call

log = logging.getLogger("tandem.llm_worker")

SHOWN_EVERY = 5  # heartbeats of an idle worker


class Heartbeat:
    """Beats in the background. `book` is the one for renewals.

    `leases` are those that the worker holds, by job id; `lost` is told the id of a job that was cancelled or whose
    lease was lost, and then `tenure` of those that hold; `besides` is what else there is to do at each beat.
    """

    def __init__(
        self,
        book: AsyncBook,
        *,
        worker: str,
        ttl: timedelta,
        leases: Mapping[str, Lease],
        tenure: Tenure,
        lost: Callable[[str], None],
        besides: Callable[[], Awaitable[None]],
    ) -> None:
        self._book = book
        self._worker = worker
        self._ttl = ttl
        self._leases = leases
        self._tenure = tenure
        self._lost = lost
        self._besides = besides
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to beat."""
        self._tasks = [
            asyncio.create_task(self._keep_renewing(), name="heartbeat"),
            asyncio.create_task(self._keep_doing_besides(), name="besides"),
        ]

    def stop(self) -> None:
        """End the beating."""
        for task in self._tasks:
            task.cancel()

    async def _keep_renewing(self) -> None:
        beat, outage = 0, Outage(log, "leases not renewed")
        while True:
            try:
                await self._renew(shown=beat % SHOWN_EVERY == 0)
            except Exception as error:  # noqa: BLE001 - without renewals every job would be lost
                await asyncio.sleep(outage.pause(error))  # the next try is on a new connection
                continue
            outage.over()
            beat += 1
            await asyncio.sleep(scripts.RENEW_EVERY.total_seconds())

    async def _keep_doing_besides(self) -> None:
        while True:
            try:
                await self._besides()
            except Exception as error:  # noqa: BLE001 - an outage, or what a user's cron job raised
                log.warning("a beat was left out: %s", error)
            await asyncio.sleep(scripts.RENEW_EVERY.total_seconds())

    async def _renew(self, *, shown: bool) -> None:
        """Prolong the leases of all running jobs; an idle worker does it only now and then, to be `shown`."""
        asked, held = time.monotonic(), {lease.id: lease for lease in self._leases.values()}
        first, *more = renewals(list(held.values()), worker=self._worker)
        calls: list[Call[Any]] = [commands.heed_aborts(ttl=self._ttl), *([first] if held or shown else [])]
        heeded, *answers = await self._book.attempt_all(calls)
        renewed: list[Any] = [*answers, *[await self._book.run(call) for call in more]]
        lost = set(chain.from_iterable(map(_answer, renewed)))
        for job_id in lost:
            if self._leases.get(job_id) is held[job_id]:  # meanwhile its next run may be here: a retry is quick
                self._lost(job_id)
        self._tenure.hear((lease for lease in held.values() if lease.id not in lost), asked=asked)
        _answer(heeded)  # only now: no job waits for what is wrong with wishes of arq's clients


def _answer(outcome: Any) -> Any:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
