"""What a handler of the forking pool may use, and where it is bound."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from tandem.shared.config.settings import Settings
from tandem.shared.errors import Snooze, StoreUnavailable
from tandem.shared.jobs.model import Artefact
from tandem.shared.jobs.progress import Pace, entry
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.store import commands, events
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.handlers import Handlers
from tandem.shared.tasks.spec import Output, Queue

log = logging.getLogger("tandem.sync_worker")


@dataclass(kw_only=True)
class SyncContext:
    """One attempt: who asked, what to work with, and what the attempt leaves beside its result."""

    lease: Lease
    settings: Settings
    book: Book
    file: Artefact | None = None
    _pace: Pace = field(default_factory=Pace, init=False, repr=False)

    @cached_property
    def files(self) -> Artifacts:
        """The store of artefacts: opened by those who use it, as it costs a short job more than its work."""
        return Artifacts(self.settings.files)

    @property
    def job_id(self) -> str:
        return self.lease.id

    @property
    def owner(self) -> str:
        return self.lease.owner

    def save(self, *, name: str, media_type: str, content: bytes) -> Artefact:
        """Store the job's artefact; it becomes downloadable when the attempt succeeds."""
        self.file = self.files.put(
            owner=self.owner,
            job=self.job_id,
            run=self.lease.token,
            name=name,
            media_type=media_type,
            content=content,
        )
        return self.file

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell those who watch the job how far it is. What comes too soon after the last step is dropped.

        Raises:
            ValueError: a number is negative, infinite or no number, or `done` exceeds `total`.

        """
        step = entry(done, total, message)
        if done != total and self._pace.wait(time.monotonic()):
            return
        well = True
        try:
            self.book.run(events.append(self.lease, [step]))
        except StoreUnavailable as error:
            well = False
            log.debug("progress not written: %s", error)  # the job goes on
        self._pace.wrote(time.monotonic(), well=well)

    def hold(self, name: str) -> None:
        """Take the lock `name` for as long as this attempt's lease lasts.

        Raises:
            Snooze: another job holds it; this one waits its turn without burning an attempt.

        """
        if not self.book.run(commands.hold(name, job_id=self.job_id, token=self.lease.token)):
            raise Snooze(timedelta(seconds=1), why=f"another job holds {name}")


SyncHandler = Callable[[SyncContext, Any], Output]
HANDLERS: Handlers[SyncHandler] = Handlers(Queue.SYNC)
handles = HANDLERS.handles
