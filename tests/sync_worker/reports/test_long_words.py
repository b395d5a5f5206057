"""Words of thousands of letters: nothing of them is lost, and a document of them comes to its end."""

from io import BytesIO
from xml.etree.ElementTree import fromstring, tostring

import pytest
from pypdf import PdfReader

from tandem.shared.config.settings import Settings
from tandem.sync_worker.reports import pdf, templating
from tandem.sync_worker.reports.layout.long_words import BREAK, allow_breaks

LONG = "a1b2c3d4" * 50


def broken(text: str) -> str:
    root = fromstring(text)  # noqa: S314 - written here
    allow_breaks(root)
    return tostring(root, encoding="unicode")


def test_a_long_word_may_end_a_line_anywhere() -> None:
    made = broken(f"<p>{LONG}<b>{LONG}</b> {LONG}</p>")
    assert made.replace(BREAK, "") == f"<p>{LONG}<b>{LONG}</b> {LONG}</p>"
    assert max(map(len, made.replace("<", BREAK).replace(">", BREAK).replace(" ", BREAK).split(BREAK))) == 5


@pytest.mark.parametrize(
    "text",
    [
        f"<p>{'a1b2c3d4' * 37} {'x' * 300}</p>",
        f"<style>{LONG}</style>",
        f'<a href="{LONG}">x</a>',
        f"<p>{'漢' * 400} {'ก' * 400}</p>",
        f"<p>{'word ' * 400}</p>",
    ],
)
def test_anything_else_stays_as_it_is(text: str) -> None:
    assert broken(text) == text


def test_a_table_full_of_long_words_is_whole() -> None:
    """Quadratic time would be some minutes of layout here."""
    data = {"columns": list("abcdefghij"), "rows": [["x" * 5_000] * 9 + ["last"]]}
    context = {**data, "data": data, "title": None}
    made = pdf.render(templating.render(Settings(_env_file=None), kind="report", name="table", context=context))
    text = "".join(page.extract_text() for page in PdfReader(BytesIO(made.content)).pages)
    assert text.count("x") == 9 * 5_000
    assert "last" in text
    assert made.missing_characters == []
