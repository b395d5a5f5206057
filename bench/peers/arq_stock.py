"""arq as its documentation shows it, but with 100 jobs at once like the others and with uvloop.

Tuned: it polls each 10 ms instead of each 500.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.jobs import tally, work
from bench.peers import runner

POLL = 0.01


async def noop(ctx: dict[str, Any], sent: float, padding: str = "") -> int:
    del ctx
    return await work.noop_async(sent, padding)


async def wait(ctx: dict[str, Any], seconds: float) -> int:
    del ctx
    return await work.wait_async(0.0, seconds)


async def ask(ctx: dict[str, Any], sent: float) -> str:
    tally.note(sent)
    return str(await ctx["asker"].ask())


async def open_asker(ctx: dict[str, Any]) -> None:
    from bench.jobs.asking import Asker  # noqa: PLC0415 - only where the provider is called

    ctx["asker"] = Asker()


def worker(options: argparse.Namespace) -> None:
    asyncio.set_event_loop(uvloop.new_event_loop())
    if options.kind == "ask":
        import bench.jobs.asking  # noqa: F401, PLC0415 - before the gate
    tally.gate()
    Worker(
        functions=[func(noop), func(wait), func(ask)],
        redis_settings=RedisSettings.from_dsn(runner.redis_url()),
        max_jobs=options.concurrency,
        poll_delay=POLL if options.tuned else 0.5,  # arq's own default
        on_startup=open_asker if options.kind == "ask" else None,
    ).run()


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    pool = await create_pool(RedisSettings.from_dsn(runner.redis_url()))

    async def send(kind: str, value: float, padding: str) -> object:
        return await pool.enqueue_job(kind, value, *([padding] if padding else []))

    yield send
    await pool.aclose()


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
