"""What one would write in ten lines: FastAPI and arq. No keys, no deduplication, no record of the job."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI
from pydantic import BaseModel


class Score(BaseModel):
    text: str
    rubric: str | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.queue = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    yield
    await app.state.queue.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/score", status_code=202)
async def submit(body: Score) -> dict[str, str]:
    job = await app.state.queue.enqueue_job("score", body.model_dump())
    return {"id": job.job_id}
