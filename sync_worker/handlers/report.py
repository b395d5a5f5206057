"""`report`: a PDF from a template, HTML or Markdown."""

import logging
import re
import unicodedata
from typing import Any

from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.report import REPORT, TO_BE_LINKED, ReportFile, ReportInput, ReportOutput
from tandem.sync_worker.context import SyncContext, handles
from tandem.sync_worker.reports import bounds, pdf, templating
from tandem.sync_worker.reports.pdf import Pdf, Properties

MAX_NAME = 80

log = logging.getLogger("tandem.sync_worker")


class TooComplex(FinalError):
    """Another attempt would compute as long."""

    type = "too_complex"


@handles(REPORT)
def report(ctx: SyncContext, job: ReportInput) -> ReportOutput:
    """Render and store."""
    properties = Properties(title=job.title, author=job.author, language=job.language, variant=job.variant)
    html = _html(ctx, job)
    document = pdf.render(html, properties) if job.template else _rendered_in_time(html, properties)
    file = ctx.save(name=file_name(job), media_type="application/pdf", content=document.content)
    made = ReportFile(url=TO_BE_LINKED, bytes=file.bytes, sha256=file.sha256, pages=document.pages)
    if document.missing_characters:
        log.warning("no font for %d of the report's characters", len(document.missing_characters))
    return ReportOutput(file=made, missing_characters=document.missing_characters)


def _rendered_in_time(html: str, properties: Properties) -> Pdf:
    """Lay out what its sender wrote. Raises TooComplex."""
    try:
        with bounds.bounded_time(bounds.MAX_LAYOUT_SECONDS):
            return pdf.render(html, properties)
    except bounds.Unbounded as error:
        raise TooComplex(f"the document is too complex to be laid out: {error}") from None


def file_name(job: ReportInput) -> str:
    """Name the PDF after its title, or else its template: `invoice-2041.pdf`. ASCII, safe in any store."""
    source = job.title or job.data.get("title") or _numbered(job) or "report"
    plain = unicodedata.normalize("NFKD", str(source)).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME].rstrip("-")
    return f"{slug or 'report'}.pdf"


def _numbered(job: ReportInput) -> str:
    return " ".join(str(part) for part in (job.template, job.data.get("number")) if part)


def _html(ctx: SyncContext, job: ReportInput) -> str:
    if job.html is not None:
        return job.html
    if job.markdown is not None:
        return _fill(ctx, "article", {"markdown": job.markdown, "title": job.title}, job.title)
    return _fill(ctx, job.template or "", job.data, job.title)


def _fill(ctx: SyncContext, template: str, data: dict[str, Any], title: str | None) -> str:
    """Templates see the data's fields by name, and as a whole under `data`."""
    context = {**data, "data": data, "title": title}
    return templating.render(ctx.settings, kind="report", name=template, context=context)
