"""PDF reports."""

from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec

INVOICE = {
    "number": "2041",
    "date": "2026-11-22",
    "due": "2026-12-06",
    "currency": "EUR",
    "seller": {"name": "Acme GmbH", "address": "Hauptstr. 1\n10115 Berlin", "tax_id": "DE123456789"},
    "buyer": {"name": "Globex Ltd", "address": "5 Market Street\nLondon EC1A 1BB"},
    "items": [
        {"description": "Consulting, November", "quantity": 12, "unit_price": 120},
        {"description": "Hosting", "quantity": 1, "unit_price": 49.5},
    ],
    "tax_rate": 19,
    "note": "Thank you for your business.",
}


LANGUAGE = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"


class PdfVariant(StrEnum):
    """Norms a PDF can follow: archives (ISO 19005; `a-…a` and `a-…u` keep text readable) and accessibility."""

    A_1B = "pdf/a-1b"
    A_2B = "pdf/a-2b"
    A_2U = "pdf/a-2u"
    A_2A = "pdf/a-2a"
    A_3B = "pdf/a-3b"
    A_3U = "pdf/a-3u"
    A_3A = "pdf/a-3a"
    UA_1 = "pdf/ua-1"


class ReportInput(Input):
    template: str | None = Field(default=None, description="`invoice`, `table`, `article` or one of your own.")
    data: dict[str, Any] = Field(default={}, description="What the template shows.")
    html: str | None = Field(default=None, min_length=1, description="A page of your own, with its style sheets.")
    markdown: str | None = Field(default=None, min_length=1, description="A text, shown by the template `article`.")
    title: str | None = Field(
        default=None, min_length=1, max_length=300, description="In the PDF's properties; the file is named after it."
    )
    author: str | None = Field(default=None, min_length=1, max_length=300, description="In the PDF's properties.")
    language: str | None = Field(
        default=None, max_length=35, pattern=LANGUAGE, description="BCP 47, such as `de` or `pt-BR`; default: `en`."
    )
    variant: PdfVariant | None = Field(default=None, description="PDF/A for archives, PDF/UA for accessibility.")

    @model_validator(mode="after")
    def _source(self) -> Self:
        if sum(source is not None for source in (self.template, self.html, self.markdown)) != 1:
            raise ValueError("give exactly one of template, html and markdown")
        if self.data and self.template is None:
            raise ValueError("data needs a template")
        return self


TO_BE_LINKED = ""  # a worker knows no URL: whoever shows the job puts the link to its file there


class ReportFile(BaseModel):
    url: str = Field(description="Where the gateway has it; the same as `links.file`.")
    bytes: int = Field(description="Its size.")
    sha256: str = Field(description="Of its content, in hexadecimal.")
    pages: int = Field(description="How many it has.")


class ReportOutput(Output):
    file: ReportFile = Field(description="The PDF.")
    missing_characters: list[str] = Field(
        default=[], description="Characters that no font of the worker has: boxes in the PDF. A hundred at most."
    )


REPORT = TaskSpec(
    name="report",
    queue=Queue.SYNC,
    summary="Make a PDF from a template, HTML or Markdown.",
    input=ReportInput,
    output=ReportOutput,
    example={"template": "invoice", "title": "Invoice 2041", "data": INVOICE},
    timeout=timedelta(minutes=5),
    retry=RetryPolicy(max_attempts=3),
)
