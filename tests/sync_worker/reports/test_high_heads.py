"""Heads of tables that are higher than a page: they stand once, and nothing of them is lost."""

from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from tandem.shared.config.settings import Settings
from tandem.sync_worker.reports import pdf, templating

WORDS = "lorem ipsum " * 2_000 + "headend"


def written(html: str) -> str:
    reader = PdfReader(BytesIO(pdf.render(html).content))
    return "".join("".join(page.extract_text().split()) for page in reader.pages)


def filled(template: str, data: dict[str, Any]) -> str:
    context = {**data, "data": data, "title": None}
    return templating.render(Settings(_env_file=None), kind="report", name=template, context=context)


@pytest.mark.parametrize(
    "html",
    [
        filled("table", {"columns": [WORDS, "b"], "rows": [["first", "last"]]}),
        filled("table", {"columns": ["x" * 30_000 + "headend", "b"], "rows": [["first", "last"]]}),
        filled("article", {"markdown": f"|{WORDS}|b|\n|-|-|\n|first|last|\n"}),
        f"<table><thead><tr><th>{WORDS}</thead><tbody><tr><td>first<td>last</table>",
        f"<table><tfoot><tr><td>{WORDS}</tfoot><tbody><tr><td>first<td>last</table>",
    ],
)
def test_a_head_higher_than_a_page_is_whole(html: str) -> None:
    said = written(html)
    assert [said.count(word) for word in ("headend", "first", "last")] == [1, 1, 1]


def test_any_other_head_stands_on_every_page() -> None:
    data = {"columns": ["lorem ipsum " * 16, "b"], "rows": [["first", "last"]] * 100}
    reader = PdfReader(BytesIO(pdf.render(filled("table", data)).content))
    assert len(reader.pages) > 1
    assert all("lorem" in page.extract_text() for page in reader.pages)
