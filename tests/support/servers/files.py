"""A store of files that does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def out_of_reach(folder: Path) -> Iterator[None]:
    """Let a store fail whatever concerns one of its folders: something else is in its place."""
    aside = folder.rename(folder.with_name(f"{folder.name} aside")) if folder.exists() else None
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        if aside:
            aside.rename(folder)
