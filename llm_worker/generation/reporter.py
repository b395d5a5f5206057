"""Progress of one attempt on its way to the job's events."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.progress import Pace, entry

log = logging.getLogger("tandem.llm_worker")

PATIENCE = 1.0  # seconds for one write

Entry = tuple[Kind, dict[str, Any]]
Append = Callable[[Sequence[Entry]], Awaitable[bool]]


class Reporter:
    """Writes the latest step: at once if the pace allows it, else when it does; what comes between is dropped."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._pace = Pace()
        self._latest: Entry | None = None
        self._later: asyncio.Task[None] | None = None

    async def tell(self, done: float, total: float | None, message: str | None) -> None:
        """Take a step.

        Raises:
            ValueError: as `progress.entry`.

        """
        self._latest = entry(done, total, message)
        if done == total or not self._pace.wait(time.monotonic()):
            await self._write()
        elif self._later is None or self._later.done():
            # What it finds when the attempt is over is a lost lease, and then it writes nothing.
            self._later = asyncio.create_task(self._write_later())

    async def _write_later(self) -> None:
        await asyncio.sleep(self._pace.wait(time.monotonic()))
        await self._write()

    async def _write(self) -> None:
        """Write the latest step. A job does not fail because nobody could be told how far it is."""
        step, self._latest = self._latest, None
        if step is None:
            return
        self._pace.wrote(time.monotonic(), well=True)  # nobody else begins meanwhile
        try:
            async with asyncio.timeout(PATIENCE):
                await self._append([step])
        except (StoreUnavailable, TimeoutError) as error:
            self._pace.wrote(time.monotonic(), well=False)
            log.debug("progress not written: %s", error)
