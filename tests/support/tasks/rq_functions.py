"""Functions that tests enqueue with plain RQ."""

import os
import time
from pathlib import Path

from tests.support.tasks import left_behind


def add(a: int, b: int = 1) -> int:
    return a + b


def slow(seconds: float, marks: str) -> float:
    Path(marks, f"ran.{os.getpid()}").touch()
    time.sleep(seconds)
    return seconds


def tick(times: int, journal: str) -> None:
    """Write who runs, each tenth of a second."""
    for _ in range(times):
        with Path(journal).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.1)


def leave_behind_and_stay(marks: str) -> None:
    left_behind.leave_behind(marks)
    left_behind.stay()


def hold(mebibytes: int, seconds: float) -> int:
    """Hold so much memory for so long."""
    held = b"x" * mebibytes * 2**20
    time.sleep(seconds)
    return len(held)
