"""Celery over Redis with a result backend; one prefork child a core, or one process of greenlets.

Tuned: what its guide to optimizing says of many short tasks, more of them fetched at once, and nothing told to others.
"""

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

from celery import Celery

from bench.jobs import tally, work
from bench.peers import runner

app = Celery("bench", broker=runner.redis_url(), backend=runner.redis_url())
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
noop = app.task(work.noop, name="noop")


def worker(options: argparse.Namespace) -> None:
    if options.kind == "ask":
        from bench.jobs.asking_job import ask  # noqa: PLC0415 - only where the provider is called

        app.task(ask, name="ask")
    if options.tuned:
        app.conf.update(worker_prefetch_multiplier=64, worker_send_task_events=False)
    tally.gate()
    quiet = ["--without-gossip", "--without-mingle"] if options.tuned else []
    arguments = ["worker", "--pool", options.pool or "prefork", "--concurrency", str(options.concurrency)]
    app.worker_main([*arguments, *quiet, "--loglevel", "WARNING"])


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    async def send(kind: str, value: float, padding: str) -> object:
        return app.send_task(kind, args=[value, padding] if padding else [value])

    yield send


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
