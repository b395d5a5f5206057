"""RQ as its documentation shows it: `Worker` forks for each job, `SimpleWorker` does not."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
from rq import Queue, SimpleWorker, Worker

from bench import tally
from bench.peers import runner

FUNCTIONS = {
    "noop": "bench.work.noop",
    "ask": "bench.asking_job.ask",
    "invoice": "bench.invoice_job.invoice",
}


def worker(options: argparse.Namespace) -> None:
    connection = redis.Redis.from_url(runner.redis_url())
    kind = SimpleWorker if options.pool == "simple" else Worker
    tally.gate()
    kind(["default"], connection=connection).work(logging_level="WARNING")


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    queue = Queue(connection=redis.Redis.from_url(runner.redis_url()))

    async def send(kind: str, value: float) -> object:
        return queue.enqueue(FUNCTIONS[kind], value)

    yield send


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
