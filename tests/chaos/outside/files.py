"""The files of jobs as they lie in the store: `owner/job/run/name`."""

import hashlib
from pathlib import Path

from tests.chaos.outside.records import StoredFile


def read(folder: Path) -> list[StoredFile]:
    """List all files, drafts too."""
    return [_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _file(folder: Path, path: Path) -> StoredFile:
    key = path.relative_to(folder)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return StoredFile(key=str(key), job=key.parts[1], at=path.stat().st_mtime, sha256=digest)
