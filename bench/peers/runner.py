"""The same command line for every contender.

`python -m bench.peers.NAME worker --concurrency N [--tuned …]`: one worker, stopped at the gate until it opens.
`… fill --jobs N [--seconds S] [--padding BYTES]`: hand over N no-ops (or waits) as fast as this engine's client does.
`… trickle --jobs N`: hand them over one at a time, each to an idle worker.
"""

import argparse
import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bench.jobs import tally, work

Send = Callable[[str, float, str], Awaitable[object]]  # the kind of job, when it is sent or how long it waits, padding
Sender = Callable[[], AbstractAsyncContextManager[Send]]
WARM_UP = 3
AT_ONCE = 50
PATIENCE = 30.0


def redis_url() -> str:
    return os.environ["REDIS_URL"]


def main(*, worker: Callable[[argparse.Namespace], None], sender: Sender) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["worker", "fill", "trickle"])
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--kind", default="noop")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--pool", default="")
    parser.add_argument("--padding", type=int, default=0, help="bytes of text in each job")
    parser.add_argument("--tuned", action="store_true", help="as its documentation recommends, see the adapter")
    options = parser.parse_args()
    if options.role == "worker":
        worker(options)
        return
    run = _fill if options.role == "fill" else _trickle
    asyncio.run(run(sender, options))


async def _fill(sender: Sender, options: argparse.Namespace) -> None:
    rest, padding = iter(range(options.jobs)), work.padding(options.padding)

    async def client(send: Send) -> None:
        for _ in rest:
            await send(options.kind, options.seconds, padding)

    async with sender() as send:
        if next(rest, None) is not None:
            await send(options.kind, options.seconds, padding)
        began = time.perf_counter()
        await asyncio.gather(*(client(send) for _ in range(AT_ONCE)))
        print(f"filled at {(options.jobs - 1) / (time.perf_counter() - began):.1f} a second", flush=True)


async def _trickle(sender: Sender, options: argparse.Namespace) -> None:
    """Give one job at a time at moments that know nothing of any poll, far enough apart for an idle worker."""
    path, padding = Path(os.environ[tally.VARIABLE]), work.padding(options.padding)
    async with sender() as send:
        for number in range(options.jobs + WARM_UP):
            await send(options.kind, time.time(), padding)
            await asyncio.sleep(random.uniform(0.05, 0.1))  # noqa: S311 - not a secret
            if number < WARM_UP:
                await _until(lambda: tally.count(path) > number)  # noqa: B023 - waited for at once
        await _until(lambda: tally.count(path) >= options.jobs + WARM_UP)


async def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check() and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's file
        await asyncio.sleep(0.005)
