"""Read as `tandem.llm_worker.handlers.telling`."""

import asyncio
from typing import Any

from tandem.llm_worker.generation.context import LlmContext, handles
from tests.support.tasks.specs import ASYNC_TELLING, TellingInput, Told
from tests.support.tasks.telling import end


async def fail(secret: str) -> None:
    raise ValueError(secret)


@handles(ASYNC_TELLING)
async def tell(_ctx: LlmContext, job: TellingInput) -> Any:
    if job.how == "forget a task":
        asyncio.create_task(fail(job.secret))  # noqa: RUF006 - what it is for
        await asyncio.sleep(0)
        return Told(done="well")
    return end(job.how, job.secret)
