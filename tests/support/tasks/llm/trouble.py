"""Bad ends of an attempt of the asyncio pool. Read as `tandem.llm_worker.handlers.trouble`."""

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tandem.llm_worker.generation.context import LlmContext, handles
from tandem.llm_worker.rate_limit.time_limit import wait
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


async def block() -> None:
    time.sleep(60)  # noqa: ASYNC251 - what it is for


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
        case "wait for a limit":
            await wait(timedelta(seconds=8))
        case "block beside a wait":
            await asyncio.gather(wait(timedelta(seconds=60)), block())
        case "slow":
            await asyncio.sleep(2)
        case "nothing":
            return None
    return Done(done=job.how)
