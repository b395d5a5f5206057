"""What one job of the asyncio pool can do to its process. Read as `tandem.llm_worker.handlers.odd`."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from tandem.llm_worker.generation.context import LlmContext, handles
from tandem.shared.storage.artifacts import LARGE
from tandem.shared.tasks.catalog.llm import Message
from tests.support.tasks.specs import ODD, Done, OddInput

KEPT: list[bytes] = []


def mark(folder: str, job_id: str) -> None:
    if folder:
        Path(folder, f"{job_id}.{time.time_ns()}.{os.getpid()}").touch()


async def leave() -> None:
    sys.exit(3)


async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - what it is for


@handles(ODD)
async def odd(ctx: LlmContext, job: OddInput) -> Done:
    mark(job.marks, ctx.job_id)
    match job.how:
        case "segfault":
            await asyncio.sleep(job.seconds)
            ctypes.string_at(0)
        case "kill":
            await asyncio.sleep(job.seconds)
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit beside":
            async with asyncio.TaskGroup() as group:
                group.create_task(leave())
        case "exit alone":
            asyncio.get_running_loop().call_soon(sys.exit, 3)
        case "block":
            await asyncio.create_task(block(job.seconds))
        case "leak":
            KEPT.append(b"x" * 200_000_000)
        case "ask later":
            await asyncio.sleep(job.seconds)
            await ctx.provider.chat([Message(role="user", content=ctx.job_id)])
        case "large":
            return Done(done="x" * LARGE)
        case "wait":
            await asyncio.sleep(job.seconds)
    return Done(done=os.getpid())
