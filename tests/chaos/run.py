"""One run: everything is started, loaded, hurt, waited for and looked at. Each wait has a deadline."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import redis

from tests.chaos.faults.chronicle import Chronicle
from tests.chaos.faults.outages import Outages
from tests.chaos.faults.processes import Faults
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.gather import Gatherer
from tests.chaos.judge.rows import judge
from tests.chaos.judge.times import moment
from tests.chaos.load.probes import Picks, probe
from tests.chaos.load.submitters import Load
from tests.chaos.plan.model import Plan
from tests.chaos.platform import Platform, platform
from tests.chaos.row import Row
from tests.support.keyspace.problems import problems

SHOWN_EVERY = 10.0  # seconds
SETTLED_WITHIN = 20.0
AFTERMATH = 3.0  # seconds in which what comes late may still come
PROBED_WITHIN = 60.0
RUSHED_WITHIN = 60.0
MINUTE = 60.0
THREADS = 64
Say = Callable[[str], None]


def run(plan: Plan, folder: Path, say: Say, *, deadline: float | None = None) -> tuple[Facts, list[Row]]:
    """Do the run in `folder`; gives what was found, and how each goal stands.

    What has not ended `deadline` seconds after the start (the plan's own, if None) is given up, and no goal is met by
    that.
    """
    say(f"seed {plan.seed}: {len(plan.submissions):,} jobs and {len(plan.faults)} faults in {plan.seconds:.0f} s")
    with platform(folder, plan) as running:
        found = asyncio.run(_Run(plan, running, say, deadline or plan.deadline).run())
        return found, judge(found)


class _Run:
    def __init__(self, plan: Plan, platform: Platform, say: Say, deadline: float) -> None:
        self._plan, self._platform, self._say = plan, platform, say
        self._redis = platform.redis()
        self._chronicle = Chronicle()
        self._outages = Outages(platform)
        self._faults = Faults(plan, platform, self._chronicle)
        self._load = Load(plan, platform.urls, platform.receiver)
        self._began = time.monotonic()
        self._deadline = self._began + deadline
        self._ended = True

    async def run(self) -> Facts:
        # Who asks a Redis that is away keeps a thread busy for seconds: Redis's own return must not wait for one.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        async with AsyncExitStack() as stack:
            for background in (self._outages.watch(), self._faults.keep(), self._show()):
                stack.callback(asyncio.create_task(background).cancel)
            await self._within_deadline(self._load_and_faults())
            await self._until_quiet()
            await self._within_deadline(self._rush(), at_least=RUSHED_WITHIN)
            picks = await self._probe()
            for why in self._chronicle.skipped:
                self._say(f"not done: {why}")
            return await asyncio.to_thread(self._gather, picks)

    async def _load_and_faults(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load.run())
            group.create_task(self._faults.run())

    async def _rush(self) -> None:
        if not (self._plan.rush and self._ended):  # what was given up would never be waited out
            return
        await self._load.rush()
        await self._until(lambda: not sum(self._unfinished()), RUSHED_WITHIN)

    async def _probe(self) -> Picks:
        """Look how soon it picks up a job when it is idle: not if it has jobs that were given up."""
        if not self._ended:
            return Picks()
        until = time.monotonic() + PROBED_WITHIN
        await self._until(lambda: all(slot.works for slot in self._platform.slots), PROBED_WITHIN / 2)
        return await asyncio.to_thread(probe, self._platform.urls[0], moment, until=until)

    def _gather(self, picks: Picks) -> Facts:
        gatherer = Gatherer(self._platform, self._plan, self._load.seen)
        return gatherer.gather(chronicle=self._chronicle, outages=self._outages, picks=picks, ended=self._ended)

    async def _until_quiet(self) -> None:
        """Wait until no job is left and each schedule was due, and the key space gets no better any more."""
        due = MINUTE * (self._load.seen.began // MINUTE + 1) if self._plan.schedules else 0.0
        if not await self._until(lambda: time.time() > due and not sum(self._unfinished()), self._left()):
            self._give_up("jobs were left")
        if not self._ended:
            return
        await asyncio.sleep(AFTERMATH)
        await self._until(lambda: not problems(self._redis), SETTLED_WITHIN)

    async def _until(self, check: Callable[[], bool], patience: float) -> bool:
        """Wait for it, but not for ever; gives whether it came. What is wrong then is in the table."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with suppress(redis.RedisError):
                if await asyncio.to_thread(check):
                    return True
            await asyncio.sleep(0.1)
        return False

    def _left(self) -> float:
        return max(1.0, self._deadline - time.monotonic())

    async def _within_deadline(self, work: Any, *, at_least: float = 0.0) -> Any:
        try:
            async with asyncio.timeout(max(at_least, self._left())):
                return await work
        except TimeoutError:
            self._give_up("the deadline passed")

    def _give_up(self, why: str) -> None:
        self._ended = False
        self._say(f"gave up after {time.monotonic() - self._began:.0f} s: {why}")

    def _unfinished(self) -> list[int]:
        """Count what is waiting, planned and running, and the webhooks that are not delivered."""
        found: Any = [self._redis.hgetall(f"tandem:queue:{pool}") for pool in ("llm", "sync")]
        counts = [sum(int(pool.get(name, 0)) for pool in found) for name in (b"queued", b"scheduled", b"running")]
        deliveries: Any = self._redis.zcard("arq:queue:webhooks")
        return [*counts, int(deliveries)]

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOWN_EVERY)
            try:
                waiting, planned, running, calls = await asyncio.to_thread(self._unfinished)
                state = f"{waiting:,} wait, {planned:,} are planned, {running:,} run, {calls} webhooks"
            except redis.RedisError:
                state = "Redis is away"
            accepted, done = len(self._load.seen.notes), len(self._chronicle.deeds)
            self._say(f"{time.monotonic() - self._began:4.0f} s  {accepted:,} accepted, {done} faults; {state}")
