"""One run: everything is started, loaded, hurt, waited for and looked at."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import redis

from tests.chaos.faults.outages import Outages
from tests.chaos.faults.processes import Faults
from tests.chaos.judge import facts, invariants
from tests.chaos.judge.facts import Facts
from tests.chaos.load.probes import Picks, probe
from tests.chaos.load.submitters import Load
from tests.chaos.plan.model import Plan
from tests.chaos.platform import Platform, platform
from tests.chaos.row import Row
from tests.support.keyspace.problems import problems
from tests.support.processes import until

SHOWN_EVERY = 10.0  # seconds
QUIET_WITHIN = 300.0  # seconds after the last submission and fault
SETTLED_WITHIN = 20.0
AFTERMATH = 3.0  # seconds in which what comes late may still come
Say = Callable[[str], None]


def run(plan: Plan, folder: Path, say: Say) -> tuple[Facts, list[Row]]:
    """Do the run in `folder`; gives what was found, and how each goal stands."""
    say(f"seed {plan.seed}: {len(plan.submissions):,} jobs and {len(plan.faults)} faults in {plan.seconds:.0f} s")
    with platform(folder, rpm=plan.rpm, seed=plan.seed) as running:
        found = asyncio.run(_Run(plan, running, say).run())
        return found, [check(found) for check in invariants.CHECKS]


class _Run:
    def __init__(self, plan: Plan, platform: Platform, say: Say) -> None:
        self._plan, self._platform, self._say = plan, platform, say
        self._redis = platform.redis()
        self._outages = Outages(platform)
        self._faults = Faults(plan, platform, self._outages)
        self._load = Load(plan, platform.urls)
        self._began = time.monotonic()

    async def run(self) -> Facts:
        async with AsyncExitStack() as stack:
            for background in (self._outages.watch(), self._faults.keep(), self._show()):
                stack.callback(asyncio.create_task(background).cancel)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._load.run())
                group.create_task(self._faults.run())
            await self._until_quiet()
            picks = await asyncio.to_thread(probe, self._platform.urls[0], facts.moment)
            return await asyncio.to_thread(self._gather, picks)

    def _gather(self, picks: Picks) -> Facts:
        damage, outages = self._faults.damage, self._outages
        return facts.gather(self._platform, self._plan, self._load.tally, damage=damage, outages=outages, picks=picks)

    async def _until_quiet(self) -> None:
        """Wait until no job is left, and the key space is in order or does not get better any more."""
        await self._until(lambda: not sum(self._unfinished()), QUIET_WITHIN)
        await asyncio.sleep(AFTERMATH)
        await self._until(lambda: not problems(self._redis), SETTLED_WITHIN)

    async def _until(self, check: Callable[[], bool], patience: float) -> None:
        """Wait for it, but not for ever: what is wrong then is in the table."""
        with suppress(AssertionError):
            await asyncio.to_thread(until, check, patience=patience)

    def _unfinished(self) -> list[int]:
        """Count what is waiting, planned and running."""
        found: Any = [self._redis.hgetall(f"tandem:queue:{pool}") for pool in ("llm", "sync")]
        return [sum(int(counts.get(name, 0)) for counts in found) for name in (b"queued", b"scheduled", b"running")]

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOWN_EVERY)
            try:
                waiting, planned, running = await asyncio.to_thread(self._unfinished)
                state = f"{waiting:,} wait, {planned:,} are planned, {running:,} run"
            except redis.RedisError:
                state = "Redis is away"
            accepted, done = len(self._load.tally.accepted), sum(self._faults.damage.done.values())
            self._say(f"{time.monotonic() - self._began:4.0f} s  {accepted:,} accepted, {done} faults; {state}")
