"""A copy of the project with two more tasks that misbehave as they are told, one for each pool."""

import shutil
from pathlib import Path

from tests.processes import ROOT

SPEC = '''
"""Tasks that misbehave."""

from datetime import timedelta

from shared.spec import Input, Output, Queue, RetryPolicy, TaskSpec


class TroubleInput(Input):
    how: str
    marks: str = ""


class TroubleOutput(Output):
    done: str


RETRY = RetryPolicy(max_attempts=2, base=timedelta(milliseconds=100))
LIMIT = timedelta(seconds=3)
EXAMPLE = {"how": "well"}

ASYNC_TROUBLE = TaskSpec(
    name="async_trouble", queue=Queue.LLM, summary="Trouble.", input=TroubleInput, output=TroubleOutput,
    example=EXAMPLE, timeout=LIMIT, retry=RETRY,
)
SYNC_TROUBLE = TaskSpec(
    name="sync_trouble", queue=Queue.SYNC, summary="Trouble.", input=TroubleInput, output=TroubleOutput,
    example=EXAMPLE, timeout=LIMIT, retry=RETRY,
)
'''

ASYNC_HANDLER = """
import asyncio
import os
import sys
from pathlib import Path

from llm_worker.context import handles
from shared.catalog.trouble import ASYNC_TROUBLE, TroubleOutput


class Worse(BaseException):
    pass


@handles(ASYNC_TROUBLE)
async def trouble(ctx, job):
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{os.getpid()}").touch()
    match job.how:
        case "exit":
            sys.exit(3)
        case "worse":
            raise Worse("worse than an exception")
        case "hang":
            await asyncio.sleep(60)
        case "swallow":
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise ValueError("I was not to be cancelled") from None
        case "slow":
            await asyncio.sleep(2)
        case "nothing":
            return None
    return TroubleOutput(done=job.how)
"""

SYNC_HANDLER = """
import ctypes
import os
import sys
import time
from pathlib import Path

from shared.catalog.trouble import SYNC_TROUBLE, TroubleOutput
from sync_worker.context import handles


@handles(SYNC_TROUBLE)
def trouble(ctx, job):
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{os.getpid()}").touch()
    match job.how:
        case "segfault":
            ctypes.string_at(0)
        case "vanish":
            os._exit(0)
        case "exit":
            sys.exit(3)
        case "hang":
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        case "slow":
            time.sleep(2.5)
        case "nothing":
            return None
    return TroubleOutput(done=job.how)
"""


def project(folder: Path) -> Path:
    """Make the copy; parts started with it as their working directory run from it."""
    for name in ("api", "llm_worker", "sync_worker", "shared", "deploy"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "shared/catalog/trouble.py").write_text(SPEC)
    (folder / "llm_worker/handlers/trouble.py").write_text(ASYNC_HANDLER)
    (folder / "sync_worker/handlers/trouble.py").write_text(SYNC_HANDLER)
    return folder
