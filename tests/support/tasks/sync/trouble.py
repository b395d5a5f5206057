"""What a job of the forking pool can do to its process. Read as `tandem.sync_worker.handlers.trouble`."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tandem.shared.storage.artifacts import LARGE
from tandem.sync_worker.context import SyncContext, handles
from tests.support.tasks.left_behind import leave_behind
from tests.support.tasks.specs import SYNC_TROUBLE, Done, TroubleInput

FILL = "import time; kept = b'x' * 100 * 2**20; time.sleep(60)"


def hang(_job: TroubleInput) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with suppress(BaseException):
            time.sleep(60)


def fill(_job: TroubleInput) -> None:
    kept = []
    while True:
        kept.append(b"x" * 2**22)


def brood(_job: TroubleInput) -> None:
    sleepers = [subprocess.Popen([sys.executable, "-c", FILL]) for _ in range(3)]
    sleepers[0].wait()


def fork(job: TroubleInput) -> None:
    leave_behind(job.marks)
    while len(list(Path(job.marks).glob("left.*"))) < 2:
        time.sleep(0.01)


def speak(_job: TroubleInput) -> None:
    lines = (b"x" * 1023 + b"\n") * 1024
    for _ in range(1024):
        os.write(1, lines)
    print("the last words", flush=True)  # noqa: T201 - what it is for


DEEDS: dict[str, Callable[[TroubleInput], object]] = {
    "segfault": lambda _: ctypes.string_at(0),
    "vanish": lambda _: os._exit(0),
    "exit": lambda _: sys.exit(3),
    "slow": lambda _: time.sleep(2.5),
    "gulp": lambda _: bytearray(2**36),
    "hang": hang,
    "fill": fill,
    "brood": brood,
    "fork": fork,
    "print": speak,
}
RESULTS: dict[str, Any] = {
    "large": Done(done="x" * LARGE),
    "object": Done(done=object()),
    "bytes": Done(done=b"\xff"),
    "other": {"done": "well"},
    "nothing": None,
}


@handles(SYNC_TROUBLE)
def trouble(ctx: SyncContext, job: TroubleInput) -> Any:
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{os.getpid()}").touch()
    if deed := DEEDS.get(job.how):
        deed(job)
    return RESULTS.get(job.how, Done(done=job.how))
