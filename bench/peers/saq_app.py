"""SAQ on Redis, 100 jobs at once, with uvloop."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from saq import Queue, Worker

from bench.jobs import tally, work
from bench.peers import runner

# redis-py 8 gives a client 100 connections, too few for as many jobs at once: some would fail.
URL = f"{runner.redis_url()}?max_connections=1000"


async def noop(ctx: dict[str, Any], *, sent: float, padding: str = "") -> int:
    del ctx
    return await work.noop_async(sent, padding)


def worker(options: argparse.Namespace) -> None:
    async def run() -> None:
        queue = Queue.from_url(URL)
        await Worker(queue, functions=[noop], concurrency=options.concurrency).start()

    tally.gate()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run())


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    queue = Queue.from_url(URL)
    await queue.connect()

    async def send(kind: str, value: float, padding: str) -> object:
        return await queue.enqueue(kind, sent=value, **({"padding": padding} if padding else {}))

    yield send
    await queue.disconnect()


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
