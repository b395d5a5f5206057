"""Errors that no task of ours waits for: a handler started something and did not look what became of it."""

import asyncio
import logging
from typing import Any

from tandem.shared.jobs.errors import log_threads, trace

log = logging.getLogger("tandem.llm_worker")


def log_them(loop: asyncio.AbstractEventLoop) -> None:
    """Log them, without their messages: asyncio's and Python's own lines would show what the input held."""
    loop.set_exception_handler(_log)
    log_threads()


def _log(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    task, error = context.get("task") or context.get("future"), context.get("exception")
    name = task.get_name() if isinstance(task, asyncio.Task) else "something"
    log.error("%s: %s%s", name, context["message"], f"\n{trace(error)}" if error else "")
