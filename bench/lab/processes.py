"""Processes of a measurement, what they say, and the memory they take."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")
PATIENCE = 60.0


class NotMeasuredError(Exception):
    """A measurement could not be made; the message says why, and stands in the table."""


def until(check: Callable[[], T], *, what: str, patience: float = PATIENCE, every: float = 0.01) -> T:
    """Wait until `check` gives something true.

    Raises:
        NotMeasuredError: it did not within `patience` seconds.

    """
    deadline = time.monotonic() + patience
    while not (value := check()):
        if time.monotonic() > deadline:
            raise NotMeasuredError(f"{what} took more than {patience:g} s")
        time.sleep(every)
    return value


@dataclass
class Running:
    """A process in a session of its own, with its output in a file."""

    popen: subprocess.Popen[bytes]
    log: Path
    name: str

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def until_says(self, text: str, *, patience: float = PATIENCE) -> None:
        """Wait for a text in the output. Raises NotMeasuredError with the last lines when it can't come."""

        def said() -> bool:
            if text in self.output:
                return True
            if self.popen.poll() is not None:
                raise NotMeasuredError(f"{self.name} ended with {self.popen.returncode}: {self.output[-400:].strip()}")
            return False

        until(said, what=f"{text!r} of {self.name}", patience=patience)

    def wait(self, *, patience: float = PATIENCE) -> str:
        """Wait for a good end and give the output."""
        try:
            code = self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"{self.name} took more than {patience:g} s") from None
        if code:
            raise NotMeasuredError(f"{self.name} ended with {code}: {self.output[-400:].strip()}")
        return self.output

    def memory(self) -> "Memory":
        """Measure the process and all its descendants."""
        return Memory.of(self.popen.pid)

    def end(self) -> None:
        """End the process and what it started, at once: nothing here has anything to save."""
        for process in tree(self.popen.pid):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.popen.wait()


def tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Memory:
    """Of a process tree, in MB (10^6 bytes). PSS counts shared pages once."""

    processes: int
    pss: float
    rss: float

    @classmethod
    def of(cls, *pids: int) -> "Memory":
        infos = []
        for process in [process for pid in pids for process in tree(pid)]:
            try:
                infos.append(process.memory_full_info())
            except psutil.NoSuchProcess:
                continue
        if not all(hasattr(info, "pss") for info in infos):
            raise NotMeasuredError("this system does not tell PSS")
        return cls(len(infos), sum(info.pss for info in infos) / 1e6, sum(info.rss for info in infos) / 1e6)


def interrupt(running: Running) -> None:
    """Kill without any chance to clean up."""
    running.popen.send_signal(signal.SIGKILL)
    running.popen.wait()
