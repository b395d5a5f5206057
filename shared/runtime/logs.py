"""Structured logs: readable on a terminal, JSON lines elsewhere; every line may carry a job's id."""

import logging
import sys

import structlog
from structlog.types import EventDict, Processor

from tandem.shared.config.settings import Settings

# Libraries whose INFO lines repeat what ours say, or show arguments.
QUIET = (
    "arq",
    "rq",
    "rq.worker",
    "httpx",
    "httpx2",
    "httpcore",
    "openai",
    "mail.log",
    "alembic",
    "uvicorn.error",
    "sse_starlette",
)


def configure(settings: Settings) -> None:
    """Route all logging, structlog's and the standard library's, to standard error."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        _drop_colours,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(console=console)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _drop_colours(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drop the copy of each message that uvicorn sends along for terminals."""
    event.pop("color_message", None)
    return event


def _renderers(*, console: bool) -> list[Processor]:
    if console:
        # Plain tracebacks: the pretty ones print local variables, and with them keys and prompts.
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
