"""streaQ on Redis streams, 100 jobs at once, with uvloop."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streaq import Worker

from bench.jobs import tally, work
from bench.peers import runner

app = Worker(redis_url=runner.redis_url(), concurrency=100, anyio_kwargs={"use_uvloop": True})
noop = app.task(name="noop")(work.noop_async)


def worker(options: argparse.Namespace) -> None:
    app.concurrency = options.concurrency
    tally.gate()
    app.run_sync()


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    async with app:

        async def send(kind: str, value: float, padding: str) -> object:
            return await {"noop": noop}[kind].enqueue(value, *([padding] if padding else []))

        yield send


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
