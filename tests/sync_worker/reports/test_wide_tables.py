"""Tables wider than a page, long words and odd data: everything fits, or the job fails and says why."""

import hashlib
from typing import Any

import pytest

from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.report import INVOICE
from tandem.sync_worker.reports import markdown_tables, table
from tandem.sync_worker.reports.layout.columns import DoesNotFit
from tandem.sync_worker.reports.table import MAX_TEXT
from tests.support.layout import cells, check_nothing_is_lost, pages_of, sizes, texts, written

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
HASH = hashlib.sha512(b"").hexdigest()
WORDS = "lorem ipsum dolor sit amet consectetur " * 700  # 4,200 words

TABLES: dict[str, dict[str, Any]] = {
    "a year": {
        "columns": ["Item", *MONTHS, "Total"],
        "rows": [["Hosting and maintenance", *[1_234_567.25] * 12, 12_345_678.5]],
        "totals": ["Sum", *[-1_234_567.25] * 12, 98_765_432.25],
    },
    "a year in portrait": {
        "orientation": "portrait",
        "columns": ["Item", *MONTHS, "Total"],
        "rows": [["Hosting", *[12_345] * 12, 345_678]],
    },
    "30 columns": {"columns": [f"Column {n}" for n in range(30)], "rows": [[n * 300 for n in range(30)]] * 70},
    "30 columns of words": {"columns": [f"c{n}" for n in range(30)], "rows": [["deliverables"] * 29 + ["last"]]},
    "hashes": {"columns": ["Name", "SHA-512", "Bytes"], "rows": [["a.pdf", HASH, 1], [HASH * 4, HASH, 2]]},
    "a long head": {"columns": ["Unbreakable" * 20, "b"], "rows": [[1, 2]], "title": "x" * 400, "subtitle": "y" * 400},
    "amounts as text": {
        "columns": list("abcdefghijkl"),
        "rows": [["€1,234,567.00"] * 12],
        "totals": ["CHF 1,000"] * 12,
    },
    "nothing": {"columns": ["a", "b"], "rows": [], "totals": ["Sum", 0], "title": "Nothing"},
    "right to left": {"columns": ["الاسم", "المبلغ"], "rows": [["شركة الاتصالات", -12.5]], "title": "تقرير المبيعات"},
    "300 rows": {
        "columns": ["City", "Share"],
        "rows": [[f"City {n}", n / 3] for n in range(300)],
        "totals": ["Sum", 1],
    },
    "extremes": {"columns": ["a", "b"], "rows": [[1e300, -1e-9], [10**30, "x" * 5000]], "note": "n" * 500},
    "a long cell": {
        "columns": ["Id", "Note", "€"],
        "rows": [[1, WORDS[:MAX_TEXT], 2.5]],
        "totals": ["Sum", WORDS[:9000], 3],
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole(name: str) -> None:
    data = TABLES[name]
    pages = pages_of("table", data)
    check_nothing_is_lost(pages)
    said = written(pages)
    for column in data["columns"]:
        assert "".join(column.split()) in said
    for value in (value for row in data["rows"] for value in row if isinstance(value, str)):
        assert "".join(value.split())[:1000] in said


def test_a_long_row_begins_where_the_page_has_room() -> None:
    first, *_ = pages_of("table", TABLES["a long cell"])
    assert max(text.position_y for text in texts(first)) > first.height * 0.8


def test_numbers_stay_on_one_line() -> None:
    pages = pages_of("table", TABLES["amounts as text"])
    assert {text.text for page in pages for cell in cells(page) for text in texts(cell)} >= {
        "€1,234,567.00",
        "CHF 1,000",
    }


def test_type_gets_smaller_only_where_it_must() -> None:
    assert max(sizes(pages_of("table", TABLES["hashes"]))) == 8.2
    assert max(sizes(pages_of("table", TABLES["30 columns"]))) < 8.2


def test_type_gets_as_small_as_the_page_says_and_no_smaller() -> None:
    needed = {"columns": [f"Y{n}" for n in range(26)], "rows": [[123_456] * 26]}
    assert min(sizes(pages_of("table", needed))) == 5.2
    assert min(table.SIZES) == min(markdown_tables.SIZES) == 5.2


@pytest.mark.parametrize(
    ("template", "data"),
    [
        ("table", {"columns": [f"Year {n}" for n in range(30)], "rows": [[1_234_567.25] * 30]}),
        ("table", {"columns": ["Name", *MONTHS], "rows": [["x", *[10**14] * 12]], "orientation": "portrait"}),
        ("article", {"markdown": f"|{'Year 1|' * 40}\n|{'-|' * 40}\n|{'1,234,567.25|' * 40}"}),
    ],
)
def test_what_no_page_holds_fails_and_names_columns(template: str, data: dict[str, Any]) -> None:
    with pytest.raises(DoesNotFit, match=r"'(Year 1|Jan)'") as caught:
        pages_of(template, data)
    assert (caught.value.type, caught.value.retryable) == ("does_not_fit", False)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"columns": ["a", "Notes"], "rows": [["x", ""], ["x", "y" * (MAX_TEXT + 1)]]}, "row 2, column 'Notes'"),
        ({"columns": ["Notes"], "rows": [], "totals": {"Notes": "y" * (MAX_TEXT + 1)}}, "totals, column 'Notes'"),
    ],
)
def test_a_cell_that_is_too_long_is_named(data: dict[str, Any], where: str) -> None:
    with pytest.raises(FinalError, match=f"{where} has 30001 characters; a cell holds 30000") as caught:
        pages_of("table", data)
    assert caught.value.type == "template_error"


# --- invoices

ITEM = {"description": "Consulting", "unit_price": 1}
INVOICES: dict[str, dict[str, Any]] = {
    "a long reference": {"reference": "R" * 90, "number": "N" * 80, "heading": "Zwischenrechnung" * 4},
    "long parties": {
        "seller": {"name": "A" * 120, "address": "B" * 200, "email": f"{'c' * 60}@example.com", "website": "w" * 200},
        "buyer": {"name": "D" * 120, "address": "x\n" * 9, "tax_id": "T" * 90, "email": "e" * 80},
        "payment": {"K" * 60: "V" * 200, "IBAN": "DE02"},
        "note": "n" * 300,
        "tax_label": "Umsatzsteuer" * 6,
    },
    "a note alone": {"note": "n" * 300},
    "large amounts": {
        "currency": "XTS",
        "items": [{"description": "x" * 200, "quantity": 10**12, "unit_price": 10**12}],
    },
    "small amounts": {
        "items": [
            {"description": "Token", "unit_price": "-0.000025", "quantity": "1234567.891234", "tax_rate": 7},
            ITEM,
        ]
    },
    "a long unit": {"items": [{**ITEM, "unit": "hours of consulting by senior engineers" * 3}]},
    "long descriptions": {
        "items": [{**ITEM, "description": WORDS[:MAX_TEXT]}, {**ITEM, "details": WORDS[:MAX_TEXT]}, ITEM]
    },
    "the last is long": {"items": [ITEM, {**ITEM, "description": WORDS[:MAX_TEXT]}]},
    "300 items": {"items": [{**ITEM, "description": f"Item {n}"} for n in range(300)]},
}


@pytest.mark.parametrize("name", INVOICES)
def test_an_invoice_is_whole(name: str) -> None:
    pages = pages_of("invoice", INVOICE | INVOICES[name])
    check_nothing_is_lost(pages)
    said = written(pages)
    for text in _strings(INVOICES[name]):
        assert "".join(text.split())[:1000] in said


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in (*value.keys(), *value.values()) for text in _strings(part) if text not in FIELDS]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return [value] if isinstance(value, str) and not value.lstrip("-").replace(".", "").isdecimal() else []


FIELDS = {"seller", "buyer", "payment", "note", "items", "name", "address", "tax_id", "email", "website", "heading"} | {
    *(
        "reference",
        "number",
        "tax_label",
        "currency",
        "description",
        "details",
        "quantity",
        "unit",
        "unit_price",
        "tax_rate",
    )
}


def test_a_text_of_an_invoice_that_is_too_long_is_named() -> None:
    with pytest.raises(FinalError, match=r"items\.0\.description: string should have at most 30000 characters"):
        pages_of("invoice", INVOICE | {"items": [{**ITEM, "description": "x" * (MAX_TEXT + 1)}]})


# --- Markdown

PEOPLE = """
| Name | E-mail | City | Role | Since | Phone | Amount |
|---|---|---|---|---|---|---:|
"""
PEOPLE += "|Ada Lovelace|ada.lovelace.analytical-engine@mathematics.example.org|London|Countess|1842-12-01"
PEOPLE += "|+44 20 7946 0958|€1,234,567.00|\n"
ARTICLES = {
    "people": PEOPLE,
    "16 columns": f"# Wide\n\n|{'Column|' * 16}\n|{'-:|' * 16}\n|{'1,234,567.00|' * 16}\n\nAfter.\n",
    "in a list": "- x\n  - y\n\n" + "".join(f"    {line}\n" for line in PEOPLE.strip().splitlines()),
    "lists": "".join(f"{'  ' * n}- item{n}\n" for n in range(20)),
    "quotations": f"{'>' * 20} item19\n",
    "a head alone": "|a|b|\n|-|-|\n",
    "long words": f"# {'Unbreakable' * 20}\n\n{'x' * 300}\n\n> {'q' * 300}\n\n- {'i' * 300}\n\n```\n{'c' * 300}\n```\n",
    "a long cell": f"|Note|€|\n|-|-|\n|{WORDS}|5|\n",
}


@pytest.mark.parametrize("name", ARTICLES)
def test_an_article_is_whole(name: str) -> None:
    check_nothing_is_lost(pages_of("article", {"markdown": ARTICLES[name]}))


@pytest.mark.parametrize("name", ["lists", "quotations"])
def test_what_stands_deep_is_shown(name: str) -> None:
    assert "item19" in written(pages_of("article", {"markdown": ARTICLES[name]}))


@pytest.mark.parametrize(
    "text", ["".join(f"{'  ' * n}- item{n}\n" for n in range(21)), f"{'>' * 21} item", f"{'>' * 3000} item"]
)
def test_what_stands_too_deep_is_refused(text: str) -> None:
    """A parser that stops there says nothing, and past the page's edge nobody sees it."""
    with pytest.raises(FinalError, match="more than 20 deep"):
        pages_of("article", {"markdown": text})


def test_tables_too_large_for_a_pdf_are_refused_before_the_work() -> None:
    text = "|a|b|c|\n|-|-|-|\n" + "|1|2|3|\n" * 5_000 + "\n"
    with pytest.raises(FinalError, match="30006 cells; a report holds 30000"):
        pages_of("article", {"markdown": text * 2})


def test_no_column_of_a_markdown_table_is_lost() -> None:
    pages = pages_of("article", {"markdown": PEOPLE})
    assert "ada.lovelace.analytical-engine@mathematics.example.org" in written(pages)
    assert "€1,234,567.00" in {text.text for page in pages for text in texts(page)}


@pytest.mark.parametrize(
    "text", ["6(1)(c)", "(r) (tm) (p)", "+-5", "a -- b ... c", "\"said\" and 'so'", "1/2 ?!?!?!", "(c) 2026"]
)
def test_markdown_stays_as_it_is_written(text: str) -> None:
    assert "".join(text.split()) in written(pages_of("article", {"markdown": f"Art. {text}."}))
