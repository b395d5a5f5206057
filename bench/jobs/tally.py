"""What the jobs of a measurement write down: one line of bytes each, from whatever process or thread they run in.

Standard library only: every contender imports it, and a forked job pays for each import.
"""

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

LINE = struct.Struct("=ddi")  # sent, began, pid
VARIABLE = "BENCH_TALLY"
GATE = "BENCH_GATE"
AT_THE_GATE = "at the gate"

_file: int | None = None


@dataclass(frozen=True)
class Entry:
    """One run of a job: when it was handed over, when its first line ran (Unix time), and in which process."""

    sent: float
    began: float
    pid: int

    @property
    def latency(self) -> float:
        return self.began - self.sent


def note(sent: float) -> None:
    """Write down that a job runs. O_APPEND keeps the lines of many processes apart."""
    global _file  # noqa: PLW0603 - one descriptor a process
    began = time.time()
    if _file is None:
        _file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_file, LINE.pack(sent, began, os.getpid()))


def count(path: Path) -> int:
    return path.stat().st_size // LINE.size if path.exists() else 0


def read(path: Path) -> list[Entry]:
    """Give all entries in the order of their beginnings."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: len(content) // LINE.size * LINE.size]
    return sorted((Entry(*line) for line in LINE.iter_unpack(whole)), key=lambda entry: entry.began)


def gate() -> None:
    """Stop a worker that has imported everything, until the measurement opens the gate for all workers at once."""
    path = os.environ.get(GATE)
    if not path:
        return
    print(AT_THE_GATE, flush=True)
    while not os.path.exists(path):  # noqa: PTH110 - pathlib is an import more
        time.sleep(0.002)
