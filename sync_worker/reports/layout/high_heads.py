"""Heads and feet of tables that may be higher than a page: drawn on every page, WeasyPrint leaves them out of all."""

from xml.etree.ElementTree import Element

HIGH = 200  # characters of a cell, which fit on a page in the narrowest column and an ordinary type


def let_high_heads_break(root: Element) -> None:
    """Make rows of them that stand once and may go on on the next page."""
    for group in root.iter():
        if group.tag in ("thead", "tfoot") and any(_length(cell) > HIGH for row in group for cell in row):
            _style(group, "display: table-row-group")
            for row in group:
                _style(row, "break-inside: auto")


def _length(cell: Element) -> int:
    return sum(map(len, cell.itertext()))


def _style(element: Element, rule: str) -> None:
    element.set("style", f"{element.get('style', '')}; {rule}")
