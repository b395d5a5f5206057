"""As long as a file is there, a process that is forked from the one that has imported this dies at once."""

import os
import signal
from pathlib import Path

FILE = "no-horse-lives"


def _die() -> None:
    if Path(os.environ["RUN_DIR"], FILE).exists():
        os.kill(os.getpid(), signal.SIGKILL)


os.register_at_fork(after_in_child=_die)
