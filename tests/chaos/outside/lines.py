"""Logs of JSON lines: an entry may come in several lines, which have its key in common and each know a part of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


class Log:
    """Appends lines, each written at once: whoever is killed leaves whole ones."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, **what: Any) -> None:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()


def read(path: Path, key: str) -> list[dict[str, Any]]:
    """Give the entries in the order of their first lines, each with all that its lines say."""
    entries: dict[Any, dict[str, Any]] = {}
    for line in _lines(path):
        entries.setdefault(line[key], {}).update(line)
    return list(entries.values())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        if line.endswith("}"):
            yield json.loads(line)
