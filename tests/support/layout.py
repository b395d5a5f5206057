"""What a report looks like: where its texts stand on the pages, by the layout itself."""

from collections.abc import Iterator
from typing import Any

from weasyprint import HTML

from tandem.shared.config.settings import Settings
from tandem.sync_worker.reports import templating

POINT = 4 / 3  # CSS pixels
SLACK = 0.5  # pixels of rounding


def pages_of(template: str, data: dict[str, Any], title: str | None = None) -> list[Any]:
    """Lay a report out."""
    context = {**data, "data": data, "title": title}
    html = templating.render(Settings(_env_file=None), kind="report", name=template, context=context)
    return [page._page_box for page in HTML(string=html).render().pages]


def texts(box: Any) -> Iterator[Any]:
    """Find the pieces of text under a box, also in the margins of a page."""
    return (found for found in box.descendants() if type(found).__name__ == "TextBox" and found.text.strip())


def cells(box: Any) -> Iterator[Any]:
    return (found for found in box.descendants() if type(found).__name__ == "TableCellBox")


def check_nothing_is_lost(pages: list[Any]) -> None:
    """No text leaves what is printed of its page, and none leaves its cell."""
    for page in pages:
        left, right = page.content_box_x(), page.content_box_x() + page.width
        bottom = page.margin_height()
        for text in texts(page):
            assert left - SLACK <= text.position_x, text.text
            assert text.position_x + text.width <= right + SLACK, text.text
            assert text.position_y + text.height <= bottom, text.text
        for cell in cells(page):
            edge = cell.position_x + cell.margin_width()
            for text in texts(cell):
                assert cell.position_x - SLACK <= text.position_x, text.text
                assert text.position_x + text.width <= edge + SLACK, f"{text.text} leaves its cell"


def written(pages: list[Any]) -> str:
    """All text, without blanks and line ends: a word that was broken is whole."""
    return "".join("".join(text.text.split()) for page in pages for text in texts(page))


def sizes(pages: list[Any]) -> set[float]:
    """The sizes of type within cells, in points."""
    return {round(text.style["font_size"] / POINT, 1) for page in pages for cell in cells(page) for text in texts(cell)}
