"""The files of jobs as they lie in the store: `owner/job/run/name`."""

import hashlib
from io import BytesIO
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from tests.chaos.outside.records import StoredFile


def names(folder: Path) -> list[str]:
    """List the keys of all files, drafts too."""
    return [str(path.relative_to(folder)) for path in _paths(folder)]


def read(folder: Path) -> list[StoredFile]:
    """Read all files, drafts too."""
    return [_file(folder, path) for path in _paths(folder)]


def _paths(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _file(folder: Path, path: Path) -> StoredFile:
    key, content = path.relative_to(folder), path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return StoredFile(key=str(key), job=key.parts[1], at=path.stat().st_mtime, sha256=digest, said=_text(content))


def _text(content: bytes) -> str:
    """Give the text of all pages; "" if it is no whole PDF, as what a dead run has left may be."""
    try:
        return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)
    except PyPdfError:
        return ""
