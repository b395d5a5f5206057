"""HTML to PDF. The only file that knows WeasyPrint, which is heavy and trusts its input too much."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from weasyprint import CSS, HTML
from weasyprint.html import element_has_link_type
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse, url_is_absolute

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, JobError, TransientError
from tandem.shared.net.ssrf import RefusedUrl
from tandem.shared.tasks.catalog.report import INVOICE
from tandem.sync_worker.reports import templating
from tandem.sync_worker.reports.fetch import Client
from tandem.sync_worker.reports.layout.high_heads import let_high_heads_break
from tandem.sync_worker.reports.layout.long_words import allow_breaks
from tandem.sync_worker.reports.layout.missing_characters import missing_characters

# Relative URLs have nothing to be relative to. This name can't exist (RFC 6761), so they are told apart.
NOWHERE = "relative.invalid"
FONT_FILES = (".ttf", ".otf", ".ttc", ".pfb", ".woff", ".woff2")
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})  # languages
MOST_MISSING = 100  # that are named
MAX_FETCHES = 200
MAX_FETCHED = 50 * 1024 * 1024
# In a layer, so that any rule of the document wins.
DEFAULTS = CSS(
    string="""@layer tandem { html { font-family:
    Inter, "Source Sans 3", "Source Sans Pro", "Liberation Sans", "DejaVu Sans", sans-serif } }"""
)

logging.getLogger("fontTools").setLevel(logging.ERROR)


class RenderFailed(FinalError):
    type = "render_failed"


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What a PDF says of itself, where that is not the document's own word. `variant` is a name of WeasyPrint's."""

    title: str | None = None
    author: str | None = None
    language: str | None = None
    variant: str | None = None


NOTHING_SAID = Properties()


@dataclass(frozen=True)
class Pdf:
    """A finished document; for its missing characters no font was found, and it shows boxes."""

    content: bytes
    pages: int
    missing_characters: list[str] = field(default_factory=list)


@dataclass
class Fetched:
    """What a document asked for: how much it got, and what it did not get, by URL."""

    count: int = 0
    bytes: int = 0
    problems: dict[str, JobError] = field(default_factory=dict)


class GuardedFetcher(URLFetcher):  # type: ignore[misc]
    """Fetches https: (guarded) and data: URLs. WeasyPrint swallows a failed fetch, so each is remembered."""

    def __init__(self, client: Client) -> None:
        super().__init__(allowed_protocols=("data",), allow_redirects=False)
        self._client = client
        self.fetched = Fetched()

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> Any:
        if url[:5].lower() == "data:":
            return super().fetch(url, headers)
        if _is_local_font(url):
            raise RefusedUrl(url, "local font files are not embedded")  # @font-face goes on to its next source
        try:
            return self._guarded(url)
        except JobError as error:
            self.fetched.problems[url] = error
            raise

    def _guarded(self, url: str) -> Any:
        self.fetched.count += 1
        if self.fetched.count > MAX_FETCHES:
            raise RefusedUrl(url, f"a document may fetch {MAX_FETCHES} URLs")
        if urlsplit(url).hostname == NOWHERE:
            raise RefusedUrl(url.partition(NOWHERE)[2], "it is relative; give a full https: or data: URL")
        answer = self._client.get(url)
        self.fetched.bytes += len(answer.body)
        if self.fetched.bytes > MAX_FETCHED:
            raise RefusedUrl(url, f"a document may fetch {MAX_FETCHED} bytes")
        kept = {name: answer.headers[name] for name in ("content-type",) if name in answer.headers}
        return URLFetcherResponse(answer.url, answer.body, kept)

    def check(self) -> None:
        """Raise what went wrong with the URLs, all of it in one error; nothing to raise, nothing done."""
        if not self.fetched.problems:
            return
        problems = list(self.fetched.problems.values())
        # One that another attempt can't mend decides; all of them are named.
        worst = next((error for error in problems if not error.retryable), problems[0])
        message = "; ".join([worst.message, *(error.message for error in problems if error is not worst)])
        raise (TransientError if worst.retryable else FinalError)(message, type=worst.type)


def render(html: str, properties: Properties = NOTHING_SAID, *, client: Client | None = None) -> Pdf:
    """Lay out `html` (A4 unless its CSS says otherwise) and write a PDF.

    Raises:
        RefusedUrl: the document wants a file, an http: or private address, a redirect or an attachment.
        FinalError, TransientError: something it wants could not be fetched.
        RenderFailed: WeasyPrint could not do it.

    """
    fetcher = GuardedFetcher(client or Client())
    try:
        pdf = _render(html, properties, fetcher)
    except (JobError, MemoryError):
        raise
    # WeasyPrint's own error about URLs is no Exception.
    except (Exception, FatalURLFetchingError) as error:
        fetcher.check()
        raise RenderFailed(f"the document could not be rendered: {_reason(error)}") from error
    fetcher.check()
    return pdf


def preload(settings: Settings | None = None) -> None:
    """Warm imports, fonts, templates and the library's caches, so that a forked process starts with all of it.

    Opens no socket. A page is drawn for each of these: what it needs is not read again in any fork.
    """
    templating.preload(settings or Settings())
    render("<b>A</b><i>a</i><code>1</code><pre>&#8364;</pre><table><tr><td>1</table>", Properties(title="Warm-up"))
    example = {**INVOICE, "data": INVOICE, "title": None}
    render(templating.render(Settings(_env_file=None), kind="report", name="invoice", context=example))


def _render(source: str, properties: Properties, fetcher: GuardedFetcher) -> Pdf:
    html = HTML(string=source, base_url=f"https://{NOWHERE}/", url_fetcher=fetcher)
    _refuse_attachments(html)
    _drop_dead_links(html)
    let_high_heads_break(html.etree_element)
    allow_breaks(html.etree_element)
    if properties.language:
        html.etree_element.set("lang", properties.language)  # also for hyphens and quotation marks
        if properties.language.partition("-")[0].lower() in RIGHT_TO_LEFT and not html.etree_element.get("dir"):
            html.etree_element.set("dir", "rtl")
    options: dict[str, Any] = {"pdf_tags": True, "pdf_variant": properties.variant}
    document = html.render(stylesheets=[DEFAULTS], presentational_hints=True, **options)
    metadata = document.metadata
    metadata.title = properties.title or metadata.title
    metadata.authors = [properties.author] if properties.author else metadata.authors
    metadata.generator = metadata.generator or "Tandem"
    metadata.created = metadata.created or datetime.now(UTC).isoformat(timespec="seconds")
    with missing_characters() as missing:
        content = document.write_pdf(**options)
    return Pdf(content, len(document.pages), sorted(missing)[:MOST_MISSING])


def _refuse_attachments(html: HTML) -> None:
    """WeasyPrint embeds what <link> and <a rel=attachment> point to: a way to carry files out."""
    for element in html.etree_element.iter():
        if isinstance(element.tag, str) and element_has_link_type(element, "attachment"):
            tag = element.tag.rpartition("}")[2]
            raise RefusedUrl(element.get("href") or f"<{tag}>", f"<{tag} rel=attachment>: reports carry no attachments")


def _drop_dead_links(html: HTML) -> None:
    """Take the target from links that are relative: in a PDF they lead nowhere."""
    if urlsplit(html.base_url).hostname != NOWHERE:
        return  # the document has a <base>
    for link in html.etree_element.iter("a"):
        target = link.get("href", "#").strip()
        if not target.startswith("#") and not url_is_absolute(target):
            del link.attrib["href"]


def _is_local_font(url: str) -> bool:
    """`src: local(…)` in @font-face becomes the file: URL of an installed font."""
    return url.startswith("file:") and url.lower().endswith(FONT_FILES)


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "its elements are nested too deeply"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
