"""RQ as its documentation shows it: `Worker` forks for each job, `SimpleWorker` does not.

Tuned: the worker imports the function's module before the first fork, as its documentation advises for slow imports.
"""

import argparse
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
from rq import Queue, SimpleWorker, Worker

from bench.jobs import tally
from bench.peers import runner

FUNCTIONS = {
    "noop": "bench.jobs.work.noop",
    "ask": "bench.jobs.asking_job.ask",
    "invoice": "bench.jobs.invoice_job.invoice",
}


def worker(options: argparse.Namespace) -> None:
    connection = redis.Redis.from_url(runner.redis_url())
    kind = SimpleWorker if options.pool == "simple" else Worker
    if options.tuned:
        importlib.import_module(FUNCTIONS[options.kind].rpartition(".")[0])
    tally.gate()
    kind(["default"], connection=connection).work(logging_level="WARNING")


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    queue = Queue(connection=redis.Redis.from_url(runner.redis_url()))

    async def send(kind: str, value: float, padding: str) -> object:
        return queue.enqueue(FUNCTIONS[kind], value, *([padding] if padding else []))

    yield send


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
