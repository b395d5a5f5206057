"""Makes the tables of a Markdown text fit the page of the template `article`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it.token import Token

from tandem.sync_worker.reports.layout import columns
from tandem.sync_worker.reports.layout.columns import Fit, Paper

PORTRAIT, LANDSCAPE = 156.0, 265.0  # mm
STEP = 6.0  # mm; that a list or a quotation is set in
SIZES = (8.4, 7.6, 7.0, 6.4, 5.8, 5.2)  # points; the first is the style sheet's
READABLE = SIZES[:3]  # rather than a page across
EMAIL = 10.0  # em of a word; what is longer may be broken for it
TIGHT = columns.TIGHT_PADDING


@dataclass
class Column:
    """The texts of a column, by where they stand."""

    head: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)


def fitted_tables(tokens: Sequence[Token]) -> list[Token]:
    """Give each table its columns' widths, its size of type, and a page across if it needs one.

    Raises:
        DoesNotFit: a table is wider than any page.

    """
    made: list[Token] = []
    for index, token in enumerate(tokens):
        made.append(token)
        if token.type == "table_open":
            fit = _fit(tokens, index)
            _dress(token, fit)
            made.append(Token("html_block", "", 0, content=_colgroup(fit)))
        elif token.type == "td_open" and columns.is_number(_plain(tokens[index + 1])):
            token.attrJoin("class", "whole")
    return made


def _fit(tokens: Sequence[Token], start: int) -> Fit:
    level = tokens[start].level
    found = list(_columns(tokens, start))
    wants = [columns.needs(" ".join(column.head), head=column.head, cells=column.cells) for column in found]
    upright = Paper(PORTRAIT - STEP * level)
    try:
        return columns.fit(wants, papers=[upright], sizes=READABLE, broken=[EMAIL])
    except columns.DoesNotFit:
        # A table in a list can't change the page.
        across = [] if level else [Paper(LANDSCAPE, landscape=True)]
        return columns.fit(wants, papers=[upright, *across], sizes=SIZES)


def _columns(tokens: Sequence[Token], start: int) -> Iterator[Column]:
    """Read a table's cells, column by column."""
    rows: list[list[str]] = []
    heads = 0
    for index in range(start, len(tokens)):
        kind = tokens[index].type
        if kind == "table_close":
            break
        if kind == "tr_open":
            rows.append([])
        elif kind in ("th_open", "td_open"):
            heads += kind == "th_open" and len(rows) > heads
            rows[-1].append(_plain(tokens[index + 1]))
    for texts in zip(*rows, strict=True):
        yield Column(list(texts[:heads]), list(texts[heads:]))


def _plain(inline: Token) -> str:
    return "".join(child.content or " " * (child.type == "softbreak") for child in inline.children or [])


def _dress(table: Token, fit: Fit) -> None:
    if fit.size != SIZES[0]:
        table.attrSet("style", f"font-size: {fit.size}pt")
    for name, applies in (("tight", fit.padding == TIGHT), ("across", fit.paper.landscape)):
        if applies:
            table.attrJoin("class", name)


def _colgroup(fit: Fit) -> str:
    return "".join(["<colgroup>", *(f'<col style="width: {width}%">' for width in fit.widths), "</colgroup>"])
