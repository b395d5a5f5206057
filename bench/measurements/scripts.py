"""The longest single call of everything that an operator, a claim, a worker or the clock asks of Redis.

A million jobs wait in each pool, then as many webhooks. Redis runs one call at a time, and all others wait meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from bench.book import duties, fill, hooks, pools
from bench.book.stopwatch import Stopwatch
from bench.lab.lab import lab
from bench.lab.processes import until
from bench.report.result import Effort, Finding, Result
from bench.report.table import markdown
from tandem.shared.store.executor import Book

WAITING, FEW = 1_000_000, 5_000  # in each pool; webhooks
MOST = 10  # ms
PATIENCE = 600  # seconds


def measure(effort: Effort) -> Result:
    waiting = WAITING if effort.scale == 1 else FEW
    with lab(effort.folder / "scripts") as made, redis.Redis.from_url(made.redis_url) as client:
        watch = Stopwatch(Book(client))
        with _unwritten(client):
            for queue in ("llm", "sync"):
                effort.say(f"  {waiting:,} jobs of the {queue} pool")
                fill.wait_in(watch.book, queue, waiting)
        pools.measure(watch)
        duties.measure(watch)
        client.flushall()
        effort.say(f"  {waiting:,} webhooks")
        with _unwritten(client):
            hooks.wait(watch, waiting)
        hooks.measure(watch)
    rows = sorted(watch.rows, key=lambda row: -row.worst)
    shown = [[row.name, f"{row.worst:.1f}", f"{row.median:.1f}", f"{max(row.commands):,}"] for row in rows]
    effort.say(markdown(("call", "longest, ms", "median, ms", "commands at most"), shown))
    longest = rows[0]
    finding = Finding(
        f"scripts: the longest call, {waiting:,} waiting in each pool",
        f"≤ {MOST} ms",
        f"{longest.worst:.1f} ms, {longest.name}",
        met=longest.worst <= MOST,
        runs=len(longest.ms),
        headline=f"longest call to Redis, {waiting:,} waiting in each pool",
    )
    return Result([finding], {"waiting": waiting, "calls": {row.name: row.as_json() for row in rows}})


@contextmanager
def _unwritten(client: redis.Redis) -> Iterator[None]:
    """Fill the book without the append-only file, which is written as a whole in the end."""
    client.config_set("appendonly", "no")
    yield
    client.config_set("appendonly", "yes")
    busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    until(lambda: not any(_persistence(client, name) for name in busy), what="the file", patience=PATIENCE, every=0.5)
    client.config_set("auto-aof-rewrite-percentage", 0)  # a fork meanwhile would be measured too


def _persistence(client: redis.Redis, name: str) -> int:
    found: dict[str, int] = client.info("persistence")  # type: ignore[assignment]  # of a synchronous client
    return found[name]
