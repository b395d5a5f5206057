"""The function behind the sync pool's `report`, as a plain RQ job: each horse imports it, and WeasyPrint with it."""

from typing import Any, cast
from uuid import uuid4

from bench.jobs.work import REPORT
from tandem.shared.config.settings import Settings, load
from tandem.shared.jobs.model import Artefact
from tandem.shared.storage.artifacts import Artifacts
from tandem.shared.tasks.catalog.report import ReportInput
from tandem.sync_worker.context import SyncContext
from tandem.sync_worker.handlers.report import report


class Context:
    """As much of an attempt as the handler uses."""

    def __init__(self) -> None:
        self.settings: Settings = load()
        self.job_id = uuid4().hex
        self._files = Artifacts(self.settings.files)

    def save(self, *, name: str, media_type: str, content: bytes) -> Artefact:
        return self._files.put(owner="bench", job=self.job_id, run=1, name=name, media_type=media_type, content=content)


def invoice(_: float) -> dict[str, Any]:
    """Run the handler on the same input."""
    context = cast("SyncContext", Context())
    return report(context, ReportInput.model_validate(REPORT)).model_dump()
