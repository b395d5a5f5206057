"""Documents that their senders wrote may be computed for so long and no longer."""

from typing import Any

import pytest

from tandem.shared.jobs.model import Job, Status
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.tasks.catalog.report import REPORT
from tandem.sync_worker.engine.attempt import attempt
from tandem.sync_worker.handlers.report import TooComplex
from tandem.sync_worker.reports import bounds
from tests.support.sync_attempts import Start

WORDS = " ".join(f"word{number}" for number in range(2000))
ENDLESS = f'<table><tr><td style="overflow-wrap: anywhere">{WORDS}</table>'  # its lay-out takes minutes
LONG = "\n\n".join(f"Paragraph {number} of *many*." for number in range(2000))


def outcome(start: Start, book: Book, payload: dict[str, Any]) -> Job:
    ctx = start(REPORT, payload)
    attempt(ctx.settings, book, ctx.lease, done=lambda: None)
    job = book.run(commands.fetch(ctx.job_id))
    assert job
    return job


# It may be interrupted while it finalizes an object: there Python drops what is raised, and bounds.py raises it again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("payload", [{"html": ENDLESS}, {"markdown": LONG}], ids=["html", "markdown"])
def test_a_document_that_computes_for_too_long_fails_finally(
    start: Start, book: Book, payload: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_LAYOUT_SECONDS", 0.5)
    job = outcome(start, book, payload)
    assert (job.status, job.attempt, job.max_attempts) == (Status.FAILED, 1, 3)
    assert job.error
    assert (job.error["type"], job.error["retryable"]) == (TooComplex.type, False)
    assert "did not come to an end within 0.5 s of computing" in job.error["message"]


def test_a_template_has_the_time_limit_of_its_task(start: Start, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LAYOUT_SECONDS", 0.001)
    assert outcome(start, book, dict(REPORT.example)).status is Status.SUCCEEDED
