"""What a handler of the forking pool may use, and where it is bound."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.binding import Handlers
from shared.book import Book
from shared.files import Files
from shared.job import Artefact
from shared.settings import Settings
from shared.spec import Output, Queue


@dataclass(kw_only=True)
class SyncContext:
    """One attempt: who asked, what to work with, and what the attempt leaves beside its result."""

    job_id: str
    owner: str
    attempt: int
    settings: Settings
    files: Files
    book: Book
    file: Artefact | None = None

    def save(self, *, name: str, media_type: str, content: bytes) -> Artefact:
        """Store the job's artefact; it becomes downloadable when the attempt succeeds."""
        self.file = self.files.put(
            owner=self.owner,
            job=self.job_id,
            attempt=self.attempt,
            name=name,
            media_type=media_type,
            content=content,
        )
        return self.file


SyncHandler = Callable[[SyncContext, Any], Output]
HANDLERS: Handlers[SyncHandler] = Handlers(Queue.SYNC)
handles = HANDLERS.handles
