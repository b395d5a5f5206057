"""What a worker tells of its limits, and hears of the others': a limit holds only where all keep the same one."""

import logging
import time
from collections.abc import Iterator

from tandem.shared.limits.scopes import Scopes
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.limits import explanation
from tandem.shared.store.limits.explanation import Told

log = logging.getLogger("tandem.llm_worker")

TELL_EVERY, WARN_EVERY = 5.0, 60.0  # seconds


class Announcement:
    """Of one worker; `tell` at each beat."""

    def __init__(self, book: AsyncBook, *, worker: str, scopes: Scopes) -> None:
        self._book, self._worker = book, worker
        self._models, self._limits = scopes.table(), scopes.told()
        self._tell_at = self._warn_at = time.monotonic()

    async def tell(self) -> None:
        """Now and then tell, look what the others tell, and warn if that differs, at once and then once a minute."""
        if (now := time.monotonic()) < self._tell_at:
            return
        if not await self._book.run(explanation.announce(self._worker, models=self._models, limits=self._limits)):
            return  # its first heartbeat has not come yet
        self._tell_at = now + TELL_EVERY
        found = sorted({line for told in await self._book.run(explanation.told()) for line in self._differences(told)})
        if found and now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            log.warning(
                "another LLM worker keeps other limits, so that none of them holds: %s. %s", "; ".join(found), MEND
            )

    def _differences(self, told: Told) -> Iterator[str]:
        for name in {*self._limits, *told}:
            here, there = self._limits.get(name, {}), told.get(name, {})
            for kind in {*here, *there}:
                if here.get(kind) != there.get(kind):
                    yield f"{name} {kind} is {here.get(kind, NONE)} here and {there.get(kind, NONE)} there"


NONE = "unlimited"
MEND = "Start all of them with the same settings and TANDEM_CONFIG"
