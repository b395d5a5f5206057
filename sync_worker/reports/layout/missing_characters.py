"""Which characters of a document no font has: WeasyPrint says so in its log only, as it draws a box for each."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("weasyprint")
NO_GLYPH = ".notdef"  # how the line begins; its arguments are the character and its number
LOG.setLevel(logging.WARNING)
LOG.propagate = False  # it tells of all CSS that it does not know, a line each


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith(NO_GLYPH) and isinstance(record.args, tuple):
            self.found.add(str(record.args[0]))


@contextmanager
def missing_characters() -> Iterator[set[str]]:
    """Collect the characters that are drawn as boxes. For one document at a time."""
    listener = _Listener()
    LOG.addHandler(listener)
    try:
        yield listener.found
    finally:
        LOG.removeHandler(listener)
