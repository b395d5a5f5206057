"""Templates: the operator's own folder first, then ours. Sandboxed, escaped, strict about missing data."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import Any, Literal

from jinja2 import (
    ChoiceLoader,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    select_autoescape,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, JobError
from tandem.sync_worker.reports import bounds, markdown, money
from tandem.sync_worker.reports.invoice import Invoice
from tandem.sync_worker.reports.table import Table
from tandem.sync_worker.reports.template_data import TemplateError

Kind = Literal["report", "mail"]
Format = Literal["html", "txt"]

OURS = Path(__file__).parent / "templates"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# Also for the operator's own templates: {{ data | invoice }}, {{ 12.5 | money("EUR") }}, {{ text | markdown }}.
FILTERS: dict[str, Callable[..., Any]] = {
    "invoice": Invoice.read,
    "table": Table.read,
    "article": markdown.Article.read,
    "markdown": markdown.to_html,
    "money": money.money,
    "price": money.price,
    "quantity": money.quantity,
    "number": money.number,
    "day": lambda day: f"{day.day}\N{NO-BREAK SPACE}{day:%B %Y}",
}
LAYOUTS = frozenset({"base"})  # extended by templates, not templates themselves


class UnknownTemplate(FinalError):
    type = "unknown_template"


class Missing(StrictUndefined):
    """A field that was not given; any use of it fails and says which one it was."""

    @property
    def _undefined_message(self) -> str:
        # Jinja keeps its marker for "not an attribute" private, but the hint tells it apart.
        if isinstance(self._undefined_obj, Mapping):
            given = ", ".join(map(str, self._undefined_obj)) or "nothing"
            return f"field {self._undefined_name!r} is missing (given here: {given})"
        return super()._undefined_message


def render(settings: Settings, *, kind: Kind, name: str, context: Mapping[str, Any], format: Format = "html") -> str:
    """Render the template `kind/name.format` with `context`. HTML is escaped, text is not.

    Raises:
        UnknownTemplate: no such template; the message lists those there are.
        TemplateError: a variable is missing, the template is wrong, computes for too long or writes too
            much; names the template, and the line where there is one.

    """
    if not exists(settings, kind=kind, name=name, format=format):
        there = ", ".join(names(settings, kind=kind)) or "none"
        raise UnknownTemplate(f"no {kind} template {name!r} ({format}); there are: {there}")
    try:
        template = _environment(settings.templates, kind).get_template(f"{name}.{format}")
        with bounds.bounded_time(bounds.MAX_SECONDS):
            return bounds.bounded_text(template.generate(context), bounds.MAX_CHARACTERS)
    except bounds.Unbounded as error:
        raise TemplateError(f"{kind} template {name!r}: {error}") from None
    except (JobError, MemoryError):
        raise
    except TemplateSyntaxError as error:
        raise TemplateError(f"{kind} template {error.name}, line {error.lineno}: {error.message}") from error
    except TemplateNotFound as error:
        raise TemplateError(f"{kind} template {name!r} needs {error.name!r}, which does not exist") from error
    except Exception as error:
        raise TemplateError(f"{kind} template {name!r}{_line(error)}: {_reason(error)}") from error


def exists(settings: Settings, *, kind: Kind, name: str, format: Format = "html") -> bool:
    """Tell whether there is a template of that name and format. A name can't leave the folder."""
    return name in names(settings, kind=kind, format=format)


def names(settings: Settings, *, kind: Kind, format: Format | None = None) -> list[str]:
    """List the templates of a kind, without layouts, in one format or (None) in any."""
    suffixes = {f".{format}"} if format else {".html", ".txt"}
    files = (file for folder in _folders(settings.templates, kind) if folder.is_dir() for file in folder.iterdir())
    stems = {file.stem for file in files if file.suffix in suffixes and file.is_file()}
    return sorted(stem for stem in stems - LAYOUTS if NAME.fullmatch(stem))


def preload(settings: Settings) -> None:
    """Compile every template, so that forked workers find them in memory. Broken ones fail when used."""
    for kind in ("report", "mail"):
        environment = _environment(settings.templates, kind)
        for file in environment.list_templates(extensions=("html", "txt", "css")):
            try:
                environment.get_template(file)
            except TemplateSyntaxError:
                continue


def _folders(own: Path | None, kind: str) -> list[Path]:
    return [folder / kind for folder in (own, OURS) if folder is not None]


@cache
def _environment(own: Path | None, kind: str) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in _folders(own, kind)]),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def _line(error: Exception) -> str:
    """Jinja rewrites tracebacks: the deepest frame in a template names file and line."""
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.endswith((".html", ".txt"))]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
