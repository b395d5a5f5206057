"""What is done to the processes, and what it hit: the jobs that ran in a process when it was killed or stopped."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.chaos.faults.outages import Outages
from tests.chaos.plan.model import Act, Fault, Plan, Role
from tests.chaos.platform import Platform, Slot

SETTLE = 0.1  # seconds after which nothing more is claimed for a process that is gone
RETRY = 0.2  # seconds
WIP = ("rq:wip:sync-high", "rq:wip:sync", "rq:wip:sync-low")
SIGNALS = {Act.KILL: signal.SIGKILL, Act.STOP: signal.SIGSTOP, Act.RESTART: signal.SIGTERM}


@dataclass(frozen=True)
class Hit:
    """A job that ran in a process when that was killed or stopped."""

    job: str
    at: float
    cause: str


@dataclass
class Damage:
    """All that was done."""

    done: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    deaths: int = 0  # of workers that nobody told to end
    skipped: int = 0  # faults for a process that was not there

    @property
    def hit(self) -> set[str]:
        return {hit.job for hit in self.hits}


class Faults:
    """Does what the plan says, and keeps the slots filled."""

    def __init__(self, plan: Plan, platform: Platform, outages: Outages) -> None:
        self._plan = plan
        self._platform = platform
        self._outages = outages
        self._redis = platform.redis()
        self._server = asyncio.Lock()
        self._looks: set[asyncio.Task[None]] = set()
        self.damage = Damage()

    async def run(self) -> None:
        """Do each fault at its time; returns when all is running again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in self._plan.faults:
                await asyncio.sleep(began + fault.at - time.monotonic())
                group.create_task(self._do(fault))

    async def keep(self) -> None:
        """Refill the slots until cancelled."""
        while True:
            self._platform.refill(self._ended)
            await asyncio.sleep(0.1)

    def _ended(self, slot: Slot) -> None:
        """Note what a worker left that did not end as it was told, by our hand or by a job's."""
        if slot.role in {Role.LLM, Role.SYNC} and not (slot.told and slot.process.popen.returncode == 0):
            self.damage.deaths += 1
            self._look(slot, "killed")

    async def _do(self, fault: Fault) -> None:
        if fault.role is Role.REDIS:
            async with self._server:  # one after the other
                await self._redis_fault(fault)
        else:
            slot = self._platform.of(fault.role)[fault.which]
            if slot.ended is not None or slot.told or slot.stopped:
                self.damage.skipped += 1
                return
            await self._process_fault(fault, slot)
        self.damage.done[f"{fault.role} {fault.act}"] += 1

    async def _process_fault(self, fault: Fault, slot: Slot) -> None:
        slot.pause = fault.seconds
        slot.told = fault.act is Act.RESTART
        slot.stopped = fault.act is Act.STOP
        slot.signal(SIGNALS[fault.act])
        if fault.act is Act.STOP:
            self._look(slot, "stopped")
            await asyncio.sleep(fault.seconds)
            slot.signal(signal.SIGCONT)
            slot.stopped = False

    async def _redis_fault(self, fault: Fault) -> None:
        valkey = self._platform.valkey
        match fault.act:
            case Act.CUT:
                with suppress(redis.RedisError):
                    for kind in ("normal", "pubsub"):
                        await asyncio.to_thread(self._redis.execute_command, "CLIENT", "KILL", "TYPE", kind)
            case Act.STOP:
                valkey.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                valkey.process.send_signal(signal.SIGCONT)
            case _:
                valkey.process.send_signal(SIGNALS[fault.act])
                await asyncio.to_thread(valkey.process.wait)
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(valkey.start)

    def _look(self, slot: Slot, cause: str) -> None:
        """Note which jobs run in this process, as soon as Redis answers: their leases last longer."""
        task = asyncio.create_task(self._note(slot.worker, slot.role, time.time(), cause))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _note(self, worker: str, role: Role, at: float, cause: str) -> None:
        await asyncio.sleep(SETTLE)
        while True:
            try:
                jobs = await asyncio.to_thread(running, self._redis, role, lambda name: worker in name)
            except redis.RedisError:
                await asyncio.sleep(RETRY)
                continue
            self.damage.hits += [Hit(job, at, cause) for job in jobs]
            return


def running(client: Any, role: Role, ours: Callable[[str], bool]) -> list[str]:
    """List the jobs whose lease a worker of this pool holds."""
    if role is Role.LLM:
        ids = [job.decode() for job in client.zrange("tandem:leases:llm", 0, -1)]
    else:
        ids = [member.decode().rpartition(":")[0] for key in WIP for member in client.zrange(key, 0, -1)]
    found = []
    for job in ids:
        worker, status = client.hmget(f"tandem:job:{job}", "worker", "status")
        if status == b"running" and worker and ours(worker.decode()):
            found.append(job)
    return found
