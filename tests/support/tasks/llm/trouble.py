"""Bad ends of an attempt of the asyncio pool. Read as `tandem.llm_worker.handlers.trouble`."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tandem.llm_worker.generation.context import LlmContext, handles
from tests.support.tasks.specs import ASYNC_TROUBLE, Done, TroubleInput


class Worse(BaseException):
    pass


def mark(folder: str, job_id: str) -> None:
    if folder:
        Path(folder, f"{job_id}.{os.getpid()}").touch()


async def swallow() -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("I was not to be cancelled") from None


@handles(ASYNC_TROUBLE)
async def trouble(ctx: LlmContext, job: TroubleInput) -> Any:
    mark(job.marks, ctx.job_id)
    match job.how:
        case "exit":
            sys.exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "worse":
            raise Worse("worse than an exception")
        case "hang":
            await asyncio.sleep(60)
        case "swallow":
            await swallow()
        case "slow":
            await asyncio.sleep(2)
        case "nothing":
            return None
    return Done(done=job.how)
