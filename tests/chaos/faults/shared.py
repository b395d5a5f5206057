"""What is done to Redis, to the way there, and to the disk: one at a time, with a rest between: all share them."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from tests.chaos.faults.chronicle import Chronicle
from tests.chaos.faults.wrong_time import TAKEN_WITHIN, WHY_NOT
from tests.chaos.outside.records import Deed
from tests.chaos.plan.model import Act, Fault
from tests.chaos.platform import Platform
from tests.support.servers.proxy import Way

LOST = 1.0  # seconds of writes that a rollback takes back
DELAY = 0.15  # seconds for each piece, either way
AHEAD = 4.0  # seconds that a clock jumps: less than a lease, more than any tick
PIECES = 400  # bytes of answers that are let pass before all is cut
SIGNALS = {Act.KILL: signal.SIGKILL, Act.AWAY: signal.SIGKILL, Act.RESTART: signal.SIGTERM}


SYNCED_WITHIN = 5.0  # seconds


class Impossible(Exception):
    """This fault can't be done here; the message says why."""


class Shared:
    """Does the faults that all processes share."""

    def __init__(self, platform: Platform, chronicle: Chronicle, *, rest: float) -> None:
        """`rest`: seconds between the end of one and the next."""
        self._rest, self._rested = rest, 0.0
        self._platform = platform
        self._valkey = platform.valkey
        self._chronicle = chronicle
        self._redis = platform.redis()
        self._one = asyncio.Lock()
        self._acts: dict[Act, Callable[[Fault], Awaitable[None]]] = {
            Act.STOP: self._stop,
            Act.CUT: self._cut,
            Act.ROLLBACK: self._roll_back,
            Act.FULL: self._fill_memory,
            Act.PARTITION: self._partition,
            Act.LATENCY: self._slow_down,
            Act.CUT_ANSWERS: self._cut_answers,
            Act.DISK_FULL: self._fill_disk,
            Act.JUMP: self._jump,
        }

    async def do(self, fault: Fault) -> None:
        """Do one fault. Raises Impossible."""
        async with self._one:
            await asyncio.sleep(self._rested - time.monotonic())
            try:
                async with self._noted(fault):
                    await self._acts.get(fault.act, self._end)(fault)
            finally:
                self._rested = time.monotonic() + self._rest

    @asynccontextmanager
    async def _noted(self, fault: Fault) -> AsyncIterator[Deed]:
        if why := {Act.DISK_FULL: self._platform.storage.why_not, Act.JUMP: WHY_NOT}.get(fault.act):
            raise Impossible(why)
        deed = self._chronicle.begin(fault.act.value, fault.role.value, pid=self._valkey.process.pid)
        try:
            yield deed
        finally:
            self._chronicle.end(deed)

    async def _end(self, fault: Fault) -> None:
        """End the server, and start it again on the same data."""
        await asyncio.to_thread(self._wait_for_sync)
        self._valkey.process.send_signal(SIGNALS[fault.act])
        await self._start(fault.seconds)

    def _wait_for_sync(self) -> None:
        """Wait until the server syncs nothing: what it acknowledges meanwhile it writes later, and would lose.

        So says docs/operations.md, and so Redis is; a judge from outside can't tell that from a loss of ours.
        """
        until = time.monotonic() + SYNCED_WITHIN
        with suppress(redis.RedisError):  # another fault keeps it from answering
            while time.monotonic() < until:
                state: Any = self._redis.info("persistence")
                if not state["aof_pending_bio_fsync"] and not state["aof_buffer_length"]:
                    return

    async def _start(self, after: float) -> None:
        await asyncio.to_thread(self._valkey.process.wait)
        await asyncio.sleep(after)
        await asyncio.to_thread(self._valkey.start)

    async def _stop(self, fault: Fault) -> None:
        self._valkey.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        self._valkey.process.send_signal(signal.SIGCONT)

    async def _roll_back(self, fault: Fault) -> None:
        """Take back the last second: what its log had before is what it starts with."""
        await asyncio.to_thread(self._wait_for_sync)
        before = _sizes(self._valkey.folder)
        await asyncio.sleep(LOST)
        self._valkey.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._valkey.process.wait)
        if before.keys() == _sizes(self._valkey.folder).keys():  # else it was just rewriting its log
            for path, size in before.items():
                os.truncate(path, size)
        await self._start(fault.seconds)

    async def _fill_memory(self, fault: Fault) -> None:
        await self._set("maxmemory", "1mb")
        await asyncio.sleep(fault.seconds)
        await self._set("maxmemory", "0")

    async def _set(self, name: str, value: str) -> None:
        """Have the server take it, however long it is too busy to answer: unsaid, the memory would stay full."""
        while True:
            try:
                await asyncio.to_thread(self._redis.config_set, name, value)
            except redis.RedisError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _cut(self, _: Fault) -> None:
        with suppress(redis.RedisError):
            for kind in ("normal", "pubsub"):
                await asyncio.to_thread(self._redis.execute_command, "CLIENT", "KILL", "TYPE", kind)

    async def _partition(self, fault: Fault) -> None:
        """Let the server hear all, and nobody hear the server."""
        with self._platform.network.through_proxy() as proxy:
            await self._cut(fault)
            await asyncio.sleep(0.3)
            proxy.partition(Way.DOWN)
            await asyncio.sleep(fault.seconds)

    async def _slow_down(self, fault: Fault) -> None:
        with self._platform.network.through_proxy() as proxy:
            proxy.delay = DELAY
            await self._cut(fault)
            await asyncio.sleep(fault.seconds)

    async def _cut_answers(self, fault: Fault) -> None:
        """Cut all connections after so many bytes of answers, again and again."""
        with self._platform.network.through_proxy() as proxy:
            await self._cut(fault)
            until = time.monotonic() + fault.seconds
            while time.monotonic() < until:
                proxy.cut_within(PIECES)
                await asyncio.sleep(0.1)

    async def _fill_disk(self, fault: Fault) -> None:
        with self._platform.storage.full():
            await asyncio.sleep(fault.seconds)

    async def _jump(self, fault: Fault) -> None:
        """Put Redis's clock ahead, and back again."""
        self._platform.clock.set(AHEAD)
        await asyncio.sleep(TAKEN_WITHIN + fault.seconds)
        self._platform.clock.set(0)
        await asyncio.sleep(TAKEN_WITHIN)


def _sizes(folder: Path) -> dict[Path, int]:
    """Give the files of the server's log with their sizes; its manifest is written with each new one."""
    return {path: path.stat().st_size for path in (folder / "appendonlydir").iterdir() if path.suffix != ".manifest"}
