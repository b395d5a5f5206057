"""The disk of artefacts: a small file system of its own, which can be filled. It takes root to mount one."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE = "192m"  # of memory, if all of it is used
BLOCK = b"\0" * 2**20


class Disk:
    """A tmpfs at `place`; without root an ordinary folder, and `why_not` says so."""

    def __init__(self, place: Path, *, size: str = SIZE) -> None:
        self._place = place
        self.why_not = ""
        try:
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.why_not = f"no file system of its own: {getattr(error, 'stderr', '') or error}".strip()
        (place / "files").mkdir()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fill it to its last block for the time of the block."""
        ballast = self._place / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                _fill(file.fileno())
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take it down."""
        if not self.why_not:
            with suppress(OSError):
                subprocess.run(["umount", "-l", str(self._place)], check=False, capture_output=True)


def _fill(file: int) -> None:
    for block in (BLOCK, BLOCK[:1]):
        try:
            while True:
                os.write(file, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
