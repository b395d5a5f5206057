"""rq-dashboard's own templates and scripts, mended so that a strict Content-Security-Policy can stand over them.

Upstream writes each page's script inline, compiles Underscore templates in the browser (which needs eval), and
inserts most fields unescaped. Here the scripts become files of their own, made once; what depends on the page
is in a block of JSON; the templates are compiled ahead, and everything that they insert is escaped.
"""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from jinja2 import BaseLoader, Environment, TemplateNotFound

PAGES = ("queues", "jobs", "job", "workers")
SOURCES = files("rq_dashboard") / "templates"
STATIC = files("tandem.sync_worker.dashboard") / "static"

# The expressions of Jinja's that scripts use, each with what gives its value on any page.
FACTS = {
    name: f"{name}|default(none)"
    for name in (
        "rq_url_prefix",
        "current_instance",
        "poll_interval",
        "id",
        "registry_name",
        "per_page",
        "order",
        "page",
    )
} | {"queue.name": "(queue|default({})).name|default(none)"}
FACTS_BLOCK = ", ".join(f'"{name}": {value}' for name, value in FACTS.items())
HEAD = '<link href="/tandem/tandem.css" rel="stylesheet">\n    </head>'
SCRIPTS = f"""<script id="page" type="application/json">{{{{ {{{FACTS_BLOCK}}}|tojson }}}}</script>
        <script src="/tandem/{{{{ active_tab|default('job') }}}}.js"></script>"""

LOOKS = {
    "display: none": "hidden",
    "float: right": "right",
    "float: right; margin-right: 8px;": "right spaced",
    "text-align: center;": "centred",
    "": "",
}
STYLE = re.compile(r'\bstyle="([^"]*)"')
DELETE = re.compile(r"\{% if enable_delete %\}.*?\{% endif %\}", re.DOTALL)
COMPACT = re.compile(r"\{% if registry_name == 'queued' %\}\s*<a .*?\{% endif %\}", re.DOTALL)
INLINE = re.compile(r'<script type="text/javascript">.*?</script>', re.DOTALL)
CLIENT_SIDE = re.compile(r'(<script name="([\w-]+)" type="text/template">)(.*?)(</script>)', re.DOTALL)
TAG = re.compile(r"<%([-=]?)(.+?)%>", re.DOTALL)
ESCAPED_BY_HAND = re.compile(r"\$\('<div/>'\)\.text\((.+?)\)\.html\(\)")
JINJA = re.compile(r"'?\{\{\s*([\w.]+)(?:\s*\|\s*\w+)*\s*\}\}'?")

Mend = Callable[[str], str]


class Unfamiliar(Exception):
    """The installed rq-dashboard is not the one that these mends were made for."""


def _swap(old: str | re.Pattern[str], new: str) -> Mend:
    """Replace something that must be there."""
    pattern = old if isinstance(old, re.Pattern) else re.compile(re.escape(old))

    def mend(text: str) -> str:
        mended, times = pattern.subn(lambda _found: new, text)
        if not times:
            raise Unfamiliar(f"rq-dashboard's templates have changed: no {pattern.pattern!r}")
        return mended

    return mend


RETRIABLE = "PAGE['registry_name'] === 'failed' || PAGE['registry_name'] === 'canceled'"
ROW_BUTTON = '<% if (d.exc_info) { %>\n                <a href="#" data-role="requeue-job-btn"'
MENDS: dict[str, tuple[Mend, ...]] = {
    "base.html": (
        _swap(INLINE, SCRIPTS),
        _swap("</head>", HEAD),
        _swap(
            '<div class="container">', '<div id="notice" class="alert" role="status"></div>\n<div class="container">'
        ),
    ),
    "jobs.html": (
        _swap(COMPACT, ""),
        _swap(DELETE, ""),
        _swap(ROW_BUTTON, ROW_BUTTON.replace("d.exc_info", RETRIABLE)),
        _swap("This list below contains all the queued jobs", "These are the {{ registry_name }} jobs"),
    ),
    "job.html": (_swap(DELETE, ""),),
    "job.js": (
        _swap('if (job.status === "failed") {', "{"),
        _swap(".show()", '.toggle(job.status === "failed" || job.status === "canceled")'),
    ),
}


def _mended(name: str, text: str) -> str:
    for mend in MENDS.get(name, ()):
        text = mend(text)
    return text


class MendedTemplates(BaseLoader):
    """Gives Flask rq-dashboard's templates without inline code, inline styles and buttons that would be refused."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        del environment
        source = SOURCES / template
        if not source.is_file():
            raise TemplateNotFound(template)
        text = _mended(Path(template).name, source.read_text())
        text = STYLE.sub(lambda found: f'data-look="{_look(found[1])}"', text)
        # The compiled template goes by the name that stands in its place.
        text = CLIENT_SIDE.sub(lambda found: _stub(found) if "<%" in found[3] else found[0], text)
        return text, str(source), lambda: True


def _look(style: str) -> str:
    if style not in LOOKS:
        raise Unfamiliar(f"rq-dashboard's templates have a new style: {style}")
    return LOOKS[style]


def _stub(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{found[4]}"


def page_script(page: str) -> str:
    """Give the whole script of a page: what we add, what all pages have, and its own."""
    scripts = [_plain("dashboard.js"), _plain(f"{page}.js")]
    return "\n".join([f"var TEMPLATES = {{{compiled(page)}}};", (STATIC / "page.js").read_text(), *scripts])


def _plain(name: str) -> str:
    """Give a script of upstream's with the page's facts in the place of Jinja's expressions."""
    text = _mended(name, (SOURCES / "rq_dashboard" / "scripts" / name).read_text())
    return JINJA.sub(lambda found: f'PAGE["{_fact(found[1])}"]', text)


def _fact(name: str) -> str:
    if name not in FACTS:
        raise Unfamiliar(f"rq-dashboard's scripts use a new fact: {name}")
    return name


def compiled(page: str) -> str:
    """Give a page's client-side templates as JavaScript functions by name."""
    text = _mended(f"{page}.html", (SOURCES / "rq_dashboard" / f"{page}.html").read_text())
    found = {name: body for _, name, body, _ in CLIENT_SIDE.findall(text) if "<%" in body}
    return ",\n".join(f"{json.dumps(name)}: {function(body)}" for name, body in found.items())


def function(body: str) -> str:
    """Compile an Underscore template; `<%=` escapes as `<%-` does."""
    body = ESCAPED_BY_HAND.sub(lambda found: found[1], body)
    code, at = [], 0
    for tag in TAG.finditer(body):
        code.append(f"html += {json.dumps(body[at : tag.start()])};")
        code.append(f"html += _.escape({tag[2].strip()});" if tag[1] else tag[2].strip())
        at = tag.end()
    code.append(f"html += {json.dumps(body[at:])};")
    lines = "\n".join(code)
    return f'function (data) {{ var html = ""; with (data || {{}}) {{\n{lines}\n}} return html; }}'
