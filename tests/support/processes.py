"""Real processes for tests: started, watched by what they say, and gone at the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def until(check: Callable[[], T], *, patience: float = PATIENCE, what: str = "the condition") -> T:
    """Wait until `check` gives something true; fail loudly after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not (value := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {patience:g} s")
        time.sleep(0.02)
    return value


class Process:
    """One process with its output in a file."""

    def __init__(self, command: list[str], *, env: Mapping[str, str], log: Path, cwd: Path = ROOT) -> None:
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command, env={**clean_environment(), **env}, stdout=output, stderr=subprocess.STDOUT, cwd=cwd
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def until_says(self, text: str, *, patience: float = PATIENCE) -> None:
        def said() -> bool:
            if text in self.output:
                return True
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.output[-3000:]}"
            return False

        until(said, patience=patience, what=f"{text!r} in the output ({self.output[-2000:]})")

    def stop(self, signum: signal.Signals = signal.SIGTERM, *, patience: float = PATIENCE) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(signum)
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise


def clean_environment() -> dict[str, str]:
    """The environment without what would change the platform's settings."""
    prefixes = ("TANDEM_", "OPENAI_", "REDIS_", "SMTP_", "DATABASE_", "LLMOCK_", "NOTIFY_")
    names = {"PORT", "HOST", "DASHBOARD_PORT", "RUN_DIR"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes) and k not in names}
    return {**kept, "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(module: str, *arguments: str, env: Mapping[str, str], log: Path, says: str) -> Iterator[Process]:
    """Run `python -m module` for the time of the block."""
    process = Process([sys.executable, "-m", module, *arguments], env=env, log=log)
    try:
        process.until_says(says)
        yield process
    finally:
        process.stop()
