"""Taskiq with its Redis stream broker (the one that acknowledges), a result backend and uvloop."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.jobs import tally, work
from bench.peers import runner

broker = RedisStreamBroker(runner.redis_url(), consumer_id="0").with_result_backend(
    RedisAsyncResultBackend(runner.redis_url(), result_ex_time=3600)
)
noop = broker.task("noop")(work.noop_async)


def worker(options: argparse.Namespace) -> None:
    async def run() -> None:
        broker.is_worker_process = True
        await run_receiver_task(broker, max_async_tasks=options.concurrency, run_startup=True)

    tally.gate()
    uvloop.run(run())


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    await broker.startup()

    async def send(kind: str, value: float, padding: str) -> object:
        sending = {"noop": noop}[kind].kiq(value, *([padding] if padding else []))
        return await asyncio.wait_for(sending, 30)

    yield send
    await broker.shutdown()


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
