"""What one would write in ten lines: FastAPI with arq or RQ. No keys, no deduplication, no record of the job."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI
from pydantic import BaseModel
from rq import Queue

POLL = float(os.environ.get("BENCH_POLL", "0.5"))  # seconds; arq's own default


class Score(BaseModel):
    text: str
    rubric: str | None = None


class Noop(BaseModel):
    sent: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.queue = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    app.state.rq = Queue(connection=redis.Redis.from_url(os.environ["REDIS_URL"]))
    yield
    await app.state.queue.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/score", status_code=202)
async def submit(body: Score) -> dict[str, str]:
    job = await app.state.queue.enqueue_job("score", body.model_dump())
    return {"id": job.job_id}


@app.post("/arq")
async def run_by_arq(body: Noop) -> dict[str, int]:
    job = await app.state.queue.enqueue_job("noop", body.sent)
    return {"pid": await job.result(timeout=30, poll_delay=POLL)}


@app.post("/rq")
def run_by_rq(body: Noop) -> dict[str, int]:
    job = app.state.rq.enqueue("bench.jobs.work.noop", body.sent)
    return {"pid": job.latest_result(timeout=30).return_value}
