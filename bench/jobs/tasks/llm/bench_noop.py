"""Read as `tandem.llm_worker.handlers.bench_noop` by a process that `bench.jobs.extended` started."""

import asyncio
import os

from bench.jobs import tally
from bench.jobs.tasks.specs import LLM_NOOP, Nothing, Sent
from tandem.llm_worker.generation.context import LlmContext, handles


@handles(LLM_NOOP)
async def noop(ctx: LlmContext, job: Sent) -> Nothing:
    del ctx
    tally.note(job.sent)
    if job.seconds:
        await asyncio.sleep(job.seconds)
    return Nothing(pid=os.getpid())
