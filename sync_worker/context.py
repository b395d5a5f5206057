"""What a handler of the forking pool may use, and where it is bound."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared import store
from shared.binding import Handlers
from shared.book import Book
from shared.errors import Snooze
from shared.files import Files
from shared.job import Artefact
from shared.settings import Settings
from shared.spec import Output, Queue
from shared.store import Lease


@dataclass(kw_only=True)
class SyncContext:
    """One attempt: who asked, what to work with, and what the attempt leaves beside its result."""

    lease: Lease
    settings: Settings
    files: Files
    book: Book
    file: Artefact | None = None

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

    def hold(self, name: str) -> None:
        """Take the lock `name` for as long as this attempt's lease lasts.

        Raises:
            Snooze: another job holds it; this one waits its turn without burning an attempt.

        """
        if not self.book.run(store.hold(name, job_id=self.job_id, token=self.lease.token)):
            raise Snooze(timedelta(seconds=1))


SyncHandler = Callable[[SyncContext, Any], Output]
HANDLERS: Handlers[SyncHandler] = Handlers(Queue.SYNC)
handles = HANDLERS.handles
