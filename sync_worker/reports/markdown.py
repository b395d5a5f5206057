"""Markdown to HTML: CommonMark with tables and strikethrough; raw HTML is shown, not used."""

from collections.abc import Iterable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from tandem.sync_worker.reports.markdown_tables import fitted_tables
from tandem.sync_worker.reports.table import MAX_CELLS
from tandem.sync_worker.reports.template_data import TemplateData, TemplateError

DEEPEST = 20  # lists and quotations within each other; past some thirty there is no room left on the page
# Levels that are read; a list is two. What lies deeper the parser leaves out without a word.
LEVELS = 2 * DEEPEST + 10


class Article(TemplateData):
    """The data of the template `article`."""

    markdown: str
    title: str | None = None
    subtitle: str | None = None
    author: str | None = None
    date: str | None = None

    @property
    def heading(self) -> str | None:
        """The text of a first-level heading that the text begins with."""
        tokens = _parser().parse(self.markdown)
        return tokens[1].content if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1" else None

    @property
    def titled(self) -> bool:
        """Tell whether the title is to be printed: not if the text begins with the same words."""
        return self.title is not None and self.title != self.heading


def to_html(text: str) -> Markup:
    """Convert Markdown. The result is safe to place in a page: everything in it was escaped.

    Raises:
        DoesNotFit: a table is wider than any page.
        TemplateError: its tables are too large, or lists and quotations are nested too deeply.

    """
    parser = _parser()
    tokens = parser.parse(text)
    if (cells := sum(token.type in {"th_open", "td_open"} for token in tokens)) > MAX_CELLS:
        raise TemplateError(f"the tables have {cells} cells; a report holds {MAX_CELLS}")
    if _depth(tokens) > DEEPEST:
        raise TemplateError(f"lists and quotations stand within each other more than {DEEPEST} deep")
    tokens = fitted_tables(tokens)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - escaped; raw HTML is off


def _depth(tokens: Iterable[Token]) -> int:
    """Count the lists and quotations that the innermost one stands in, and itself."""
    depth = deepest = 0
    for token in tokens:
        if token.type.startswith(("bullet_list_", "ordered_list_", "blockquote_")):
            depth += token.nesting
            deepest = max(deepest, depth)
    return deepest


@cache
def _parser() -> MarkdownIt:
    """Without a typographer: `6(1)(c)` and `+-` stay as they are written."""
    return MarkdownIt("commonmark", {"html": False, "maxNesting": LEVELS}).enable(["table", "strikethrough"])
