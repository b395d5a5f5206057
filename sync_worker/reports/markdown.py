"""Markdown to HTML: CommonMark with tables and strikethrough; raw HTML is shown, not used."""

from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup

from tandem.sync_worker.reports.markdown_tables import fitted_tables
from tandem.sync_worker.reports.template_data import TemplateData


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

    """
    parser = _parser()
    tokens = fitted_tables(parser.parse(text))
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - escaped; raw HTML is off


@cache
def _parser() -> MarkdownIt:
    """Without a typographer: `6(1)(c)` and `+-` stay as they are written."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
