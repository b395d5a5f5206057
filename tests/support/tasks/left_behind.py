"""Processes that a job leaves behind."""

import os
import signal
from pathlib import Path
from typing import NoReturn


def stay() -> NoReturn:
    while True:
        signal.pause()


def leave_behind(marks: str) -> None:
    """Start a child in the group and a daemon that left it; both note their numbers and outlive the job's process."""
    for daemon in (False, True):
        if os.fork() == 0:
            if daemon:
                os.setsid()
                if os.fork():
                    os._exit(0)
            Path(marks, f"left.{os.getpid()}").touch()
            stay()
