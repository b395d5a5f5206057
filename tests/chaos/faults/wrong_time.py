"""A clock that jumps: that of a process started with this environment (libfaketime, Debian's package)."""

import os
from pathlib import Path

LIBRARY = "faketime/libfaketimeMT.so.1"
PLACES = [*Path("/usr/lib").glob(f"*/{LIBRARY}"), *Path("/usr/local/lib").glob(LIBRARY)]
WHY_NOT = "" if PLACES else "libfaketime is not installed"
TAKEN_WITHIN = 1.5  # seconds until the process sees a new time


class WrongTime:
    """How far a clock is off; the processes read it from `file` once a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: float) -> None:
        """Put the clock so far ahead, or behind if negative."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+g}")
        os.replace(new, self._file)  # noqa: PTH105 - whoever reads finds the one or the other

    @property
    def environment(self) -> dict[str, str]:
        """What the process needs; nothing where the library is missing."""
        if not PLACES:
            return {}
        options = {"FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_CACHE_DURATION": "1"}
        return {**options, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "LD_PRELOAD": str(PLACES[0])}
