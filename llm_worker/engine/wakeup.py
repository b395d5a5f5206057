"""Each new job wakes one idle worker: a blocking read in the background."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tandem.shared.runtime.outage import Outage
from tandem.shared.store import queues
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key

log = logging.getLogger("tandem.llm_worker")

WAIT = timedelta(seconds=5)  # the server ends each listening: a cancelled one would cost the connection


class Wakeup:
    """Listens in the background. A call that finds its worker busy goes on to another one."""

    def __init__(self, client: Any, book: AsyncBook, *, busy: Callable[[], bool], heard: Callable[[], None]) -> None:
        self._client, self._book = client, book
        self._busy, self._heard = busy, heard
        self._task: asyncio.Task[None] | None = None
        self._outage = Outage(log, "no wake-ups for now", level=logging.DEBUG)

    def listen(self) -> None:
        """Have `heard` called at the next wake-up, if there is one in the next seconds."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="wakeup")

    def stop(self) -> None:
        """End the listening."""
        if self._task:
            self._task.cancel()

    async def _listen(self) -> None:
        try:
            woken = await self._client.blpop([Key.WAKEUP + "llm"], timeout=WAIT.total_seconds())
            if woken and self._busy():
                await self._book.run(queues.wake("llm"))
            elif woken:
                self._heard()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next claim will say it
            await asyncio.sleep(self._outage.pause(error))
        else:
            self._outage.over()
