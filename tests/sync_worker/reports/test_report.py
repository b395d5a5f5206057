"""Reports, rendered for real and read back from the PDF."""

import hashlib
import re
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pypdf import PdfReader

from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.report import INVOICE, REPORT, TO_BE_LINKED, PdfVariant, ReportFile, ReportInput
from tandem.sync_worker.handlers.report import file_name, report
from tandem.sync_worker.reports.money import MINUS
from tests.support.layout import pages_of, written
from tests.support.sync_attempts import Start


class Made:
    """A finished report: what the handler returned, and the PDF read back from the store."""

    def __init__(self, start: Start, payload: dict[str, Any], **settings: Any) -> None:
        ctx = start(REPORT, payload, **settings)
        output = report(ctx, ReportInput.model_validate(payload))
        self.result: ReportFile = output.file
        self.missing_characters = output.missing_characters
        assert ctx.file is not None
        self.name = ctx.file.name
        self.job_id = ctx.job_id
        self.content = ctx.files.get(ctx.file.key)
        self.reader = PdfReader(BytesIO(self.content))
        self.pages = [page.extract_text() for page in self.reader.pages]
        self.text = "\n".join(self.pages)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_an_invoice_with_its_sums(start: Start) -> None:
    made = Made(start, REPORT.example)
    assert made.name == "invoice-2041.pdf"
    assert made.result == ReportFile(
        url=TO_BE_LINKED,
        bytes=len(made.content),
        sha256=hashlib.sha256(made.content).hexdigest(),
        pages=1,
    )
    for part in ("Globex Ltd", "Consulting, November", "€1,489.50", "€283.01", "€1,772.51", "1 / 1"):
        assert part in words(made.text)
    assert made.reader.metadata is not None
    assert made.reader.metadata.title == "Invoice 2041"
    assert str(made.reader.root_object["/Lang"]) == "en"


def test_an_invoice_of_25_lines_is_one_page(start: Start) -> None:
    items = [{"description": f"Consulting, week {n}", "quantity": n, "unit_price": 99.9} for n in range(1, 26)]
    made = Made(start, {"template": "invoice", "data": {**INVOICE, "items": items}})
    assert made.result.pages == 1
    assert "€32,467.50" in made.text


@pytest.mark.parametrize("lines", range(34, 40))
def test_a_total_never_stands_alone(start: Start, lines: int) -> None:
    items = [{"description": f"Line {n}", "unit_price": 1} for n in range(1, lines + 1)]
    made = Made(start, {"template": "invoice", "data": {**INVOICE, "items": items}})
    [page] = [page for page in made.pages if "Total" in page]
    assert f"Line {lines}\n" in page or f"Line {lines} " in page


def test_tax_by_rate_is_rounded_once(start: Start) -> None:
    items = [
        {"description": "Book", "quantity": 3, "unit_price": 0.335, "tax_rate": 7},
        {"description": "Tokens", "quantity": 1_000_000, "unit_price": "0.000025", "details": "input"},
        {"description": "Discount", "unit_price": -5},
    ]
    made = Made(start, {"template": "invoice", "data": {**INVOICE, "items": items}})
    # 1.01 (1.005 rounded up) at 7 %, 20.00 at 19 %
    for part in (
        "0.335",
        "1.01",
        "0.000025",
        "25.00",
        f"{MINUS}5.00",
        "€21.01",
        "€0.07",
        "€3.80",
        "€24.88",
        "1,000,000",
    ):
        assert part in made.text


def test_an_invoice_without_optional_fields(start: Start) -> None:
    data = {
        "number": 7,
        "date": "2026-01-02",
        "currency": "JPY",
        "seller": {"name": "A"},
        "buyer": {"name": "B"},
        "items": [{"description": "X", "unit_price": 100}],
    }
    made = Made(start, {"template": "invoice", "data": data})
    assert made.name == "invoice-7.pdf"
    assert "¥100" in made.text
    assert "VAT" not in made.text


def test_what_an_invoice_lacks_is_named(start: Start) -> None:
    data = {**INVOICE, "buyer": {}, "items": [{"description": "X"}], "tax_rat": 19, "logo": "file:///etc/passwd"}
    with pytest.raises(FinalError) as caught:
        Made(start, {"template": "invoice", "data": data})
    assert caught.value.type == "template_error"
    for part in (
        "invoice data: ",
        "buyer.name: field required",
        "items.0.unit_price: field required",
        "tax_rat: there is no such field",
        "logo: ",
    ):
        assert part in caught.value.message


def test_a_table_of_60_rows_repeats_its_head(start: Start) -> None:
    columns = ["City", {"key": "n", "label": "Orders"}, {"key": "share", "label": "Share", "decimals": 1}]
    rows = [{"City": f"City {n}", "n": n, "share": n * 1000 / 3} for n in range(60)]
    totals = ["Sum", 1770, None]
    data = {"title": "Orders by city", "columns": columns, "rows": rows, "totals": totals}
    made = Made(start, {"template": "table", "data": data})
    assert made.name == "orders-by-city.pdf"
    assert made.result.pages == len(made.pages) == 2
    for number, page in enumerate(made.pages, start=1):
        assert "Orders by city" in page
        assert "Share" in page
        assert f"{number} / 2" in page
    assert "19,666.7" in made.text
    assert "City 59" in made.pages[1]
    assert "Sum" in made.pages[1]


def test_a_table_shows_values_as_they_came(start: Start) -> None:
    rows = [[2026, 1.5, True, None, "<b>"], [-2027, 2, False, None, "&amp;"]]
    made = Made(start, {"template": "table", "title": "T", "data": {"columns": list("abcde"), "rows": rows}})
    for part in ("2026", f"{MINUS}2027", "1.5", "2.0", "yes", "no", "<b>", "&amp;"):
        assert part in made.text


def test_large_numbers_keep_every_digit() -> None:
    """As floats, the last digits of identifiers would be others."""
    data = {"columns": ["id", "n"], "rows": [[12345678901234567, 1.5], [-(10**400), 1e300], [-0.0, 10**30]]}
    made = written(pages_of("table", data))
    assert "12345678901234567" in made
    assert f"{MINUS}1{'0' * 400}" in made
    assert f"1,{'000,' * 99}000.0" in made
    assert f"1{',000' * 10}.0" in made
    assert made.count(MINUS) == 1  # zero has none


def test_a_wide_table_lies_across_the_page(start: Start) -> None:
    rows = [list(range(9))]
    made = Made(start, {"template": "table", "data": {"columns": list("abcdefghi"), "rows": rows}})
    box = made.reader.pages[0].mediabox
    assert box.width > box.height


def test_a_row_of_the_wrong_length_is_named(start: Start) -> None:
    with pytest.raises(FinalError, match="table data: data: row 2 has 1 values for 2 columns"):
        Made(start, {"template": "table", "data": {"columns": ["a", "b"], "rows": [[1, 2], [3]]}})


def test_a_table_too_large_for_a_pdf_is_refused_before_the_work(start: Start) -> None:
    with pytest.raises(FinalError, match="15001 rows are 30002 cells; a report holds 30000"):
        Made(start, {"template": "table", "data": {"columns": ["a", "b"], "rows": [[1, 2]] * 15_001}})


MARKDOWN = """
# Report

Some *text* and <script>x</script>.

| a    |  b |
|------|---:|
| left | 12 |

```
code("x")
```

> said
"""


def test_markdown(start: Start) -> None:
    made = Made(start, {"markdown": MARKDOWN, "title": "Report"})
    assert made.name == "report.pdf"
    assert made.text.count("Report") == 1  # the heading is the title, not a second one
    for part in ("<script>x</script>", "left", 'code("x")', "said", "1 / 1"):
        assert part in made.text
    assert [entry["/Title"] for entry in made.reader.outline] == ["Report"]  # type: ignore[call-overload]


def test_html_with_an_image_in_a_data_url(start: Start) -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='20'><text y='9'>inside</text></svg>"
    made = Made(start, {"html": f'<title>Own</title><h1>Hi</h1><img src="data:image/svg+xml,{svg}"><a href="/x">x</a>'})
    assert "inside" in made.text
    assert made.reader.metadata is not None
    assert made.reader.metadata.title == "Own"
    assert "/Annots" not in made.reader.pages[0]  # a relative link leads nowhere in a PDF


def test_what_a_pdf_says_of_itself(start: Start) -> None:
    payload = {"markdown": "# Bericht", "title": "Bericht", "author": "Ada Lovelace", "language": "de-DE"}
    made = Made(start, payload)
    assert made.reader.metadata is not None
    assert (made.reader.metadata.title, made.reader.metadata.author) == ("Bericht", "Ada Lovelace")
    root: Any = made.reader.root_object
    assert root["/Lang"] == "de-DE"
    assert root["/MarkInfo"]["/Marked"]


@pytest.mark.parametrize("variant", [PdfVariant.A_1B, PdfVariant.A_2A, PdfVariant.A_3U, PdfVariant.UA_1])
def test_norms_for_archives_and_accessibility(start: Start, variant: PdfVariant) -> None:
    made = Made(start, {**REPORT.example, "variant": variant, "author": "Acme"})
    [norm, part, *_] = re.split("[/-]", variant)[1:]
    root: Any = made.reader.root_object
    xmp = root["/Metadata"].get_data().decode()
    assert f'pdf{norm}id:part="{part[0]}"' in xmp or f"<pdf{norm}id:part>{part[0]}<" in xmp
    assert "Acme" in xmp
    if norm == "a":
        assert part[1].upper() in re.findall(r"conformance[=>\"]+([ABU])", xmp)
        [intent] = root["/OutputIntents"]
        assert intent.get_object()["/DestOutputProfile"].get_object().get_data()
        assert all("/FontFile" in key for key in _embedded(made.reader))


def _embedded(reader: PdfReader) -> list[str]:
    """Say of each font in what form it is embedded."""
    found = []
    for page in reader.pages:
        resources: Any = page["/Resources"]
        for font in resources["/Font"].values():
            [descendant] = font.get_object()["/DescendantFonts"]
            descriptor = descendant.get_object()["/FontDescriptor"].get_object()
            found.append(next((key for key in descriptor if key.startswith("/FontFile")), "missing"))
    assert found
    return found


@pytest.mark.parametrize("field", [{"language": "de_DE; x"}, {"variant": "pdf/x-4"}, {"author": ""}])
def test_wrong_properties_are_refused(field: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ReportInput.model_validate({"markdown": "x", **field})


def test_the_operators_own_template(start: Start, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "receipt.html").write_text(
        "<h1>{{ title }}</h1>{{ shop }} {{ data.shop }} {{ 5|money('EUR') }}"
    )
    payload = {"template": "receipt", "title": "Beleg Nr. 5 / Köln", "data": {"shop": "<Kiosk>"}}
    made = Made(start, payload, templates=tmp_path)
    assert made.name == "beleg-nr-5-koln.pdf"
    assert "<Kiosk> <Kiosk> €5.00" in words(made.text)
    with pytest.raises(FinalError, match="'shop' is undefined") as caught:
        Made(start, {"template": "receipt"}, templates=tmp_path)
    assert caught.value.type == "template_error"


def test_an_unknown_template(start: Start) -> None:
    with pytest.raises(FinalError, match=r"no report template 'nope' .* article, invoice, table") as caught:
        Made(start, {"template": "nope"})
    assert caught.value.type == "unknown_template"


@pytest.mark.parametrize("title", ["../../etc/passwd", "報告", "a" * 290, "CON.pdf\r\nX: y"])
def test_file_names_are_safe(title: str) -> None:
    name = file_name(ReportInput(html="x", title=title))
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,79}\.pdf", name)


SCRIPTS = "報告書ひらがなカタカナ漢語简体한국어🦩🚀→✓★ßŁЖΩ"


def test_characters_without_a_font_are_named(start: Start) -> None:
    made = Made(start, {"markdown": f"# {SCRIPTS}\n\n\U000f1234 and \U000f1235, twice \U000f1234"})
    nowhere = [character for character in sorted({*SCRIPTS, "\U000f1234", "\U000f1235"}) if not _has_font(character)]
    assert made.missing_characters == nowhere
    assert {"\U000f1234", "\U000f1235"}.issubset(nowhere), "no font has what is private"
    assert Made(start, {"markdown": "# Grüße\n\nNothing is missing."}).missing_characters == []


def _has_font(character: str) -> bool:
    found = subprocess.run(["fc-list", f":charset={ord(character):x}"], check=True, capture_output=True)
    return bool(found.stdout)


def test_so_many_characters_are_named_at_most(start: Start) -> None:
    made = Made(start, {"html": "".join(map(chr, range(0xF1000, 0xF1000 + 300)))})
    assert len(made.missing_characters) == 100


@pytest.mark.parametrize(("language", "direction"), [("ar", "rtl"), ("he-IL", "rtl"), ("de", None), ("arn", None)])
def test_the_language_decides_where_lines_begin(start: Start, language: str, direction: str | None) -> None:
    """In a table that is read from the right, the first column is the right one."""
    rows = [["alpha", "omega"]]
    made = Made(start, {"template": "table", "data": {"columns": ["a", "b"], "rows": rows}, "language": language})
    places: dict[str, float] = {}

    def note(text: str, _cm: object, matrix: list[float], *_: object) -> None:
        places[text.strip()] = matrix[4]

    made.reader.pages[0].extract_text(visitor_text=note)
    assert (places["alpha"] > places["omega"]) is (direction == "rtl")
