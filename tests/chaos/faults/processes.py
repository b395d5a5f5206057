"""What is done to the processes, and what it hit: the jobs that ran in a process when it was killed or stopped."""

import asyncio
import os
import re
import signal
import time
from contextlib import suppress
from typing import Any

import redis

from tandem.shared.errors import StoreUnavailable
from tandem.shared.store.commands import read_input
from tandem.shared.store.executor import Book
from tandem.sync_worker.engine.memory import children
from tests.chaos.faults.at_work import AtWork, Leaving
from tests.chaos.faults.chronicle import Chronicle
from tests.chaos.faults.others import OTHERS, enough_left
from tests.chaos.faults.shared import Impossible, Shared
from tests.chaos.outside.records import Deed
from tests.chaos.plan.model import SHORT, SIZES, SLOTS, Act, Fault, Plan, Role
from tests.chaos.platform import GRACE, Platform, Slot

SETTLE = 0.1  # seconds after which nothing more is claimed for a process that is gone
RETRY = 0.2  # seconds
AT_WORK = 12.0  # seconds that a fault of a worker waits until it has something to hit
REQUESTS = 3  # that an LLM worker has open then
# Seconds that a journal task still takes when its worker is told to end: it has some to end what it is at.
ENDS = GRACE + 0.5
LEASE = 6.0
SUSPECT = 90.0  # seconds that a fault of the isolation server waits until it has suspects
SUSPECTS = 2  # that it waits for in the first half
ANY_TIME = 75.0  # seconds that a fault waits for its process: others have ended it, or Redis is away and no job begins
REST = 6.0  # seconds between two faults that all share, in a long run: nothing recovers while they follow each other
SENDING = 120.0  # seconds that a fault of a sender waits for a mail that is being sent: others may wait before it
WIP = ("rq:wip:sync-high", "rq:wip:sync", "rq:wip:sync-low")
SIGNALS = {Act.KILL: signal.SIGKILL, Act.STOP: signal.SIGSTOP, Act.RESTART: signal.SIGTERM}
MARKER = re.compile(r"job-\d+-\d+\.")
SUSPICIOUS = 2  # workers that died with a job: then it is isolated


class Faults:
    """Does what the plan says, and keeps the slots filled."""

    def __init__(self, plan: Plan, platform: Platform, chronicle: Chronicle) -> None:
        self._plan = plan
        self._platform = platform
        self._chronicle = chronicle
        self._shared = Shared(platform, chronicle, rest=REST if plan.seconds > SHORT else 0.0)
        # What its submitter cancels tells nothing of recovery.
        lasting = [job for job in plan.submissions if job.task == "journal" and job.cancel is None]
        lengths = {job.marker: job.body["seconds"] for job in lasting}
        self._at_work = AtWork(platform.provider_log, platform.journal, but=frozenset(plan.limits), lengths=lengths)
        self._leaving = Leaving(platform.mail_log)
        self._patience = min(OTHERS, plan.seconds / 15)
        self._redis = platform.redis()
        self._isolation = asyncio.Lock()  # each fault has suspects of its own
        self._looks: set[asyncio.Task[None]] = set()
        self._open: dict[str, list[Deed]] = {}  # by slot: what goes on until its successor works

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
            self._platform.refill(self._ended, self._ready)
            await asyncio.sleep(0.1)

    def _ended(self, slot: Slot) -> None:
        """Note the end of a process that nobody hit: a poison's doing, or Redis's silence while its worker waited."""
        if slot.name in self._open:
            return
        if not (slot.told and slot.process.popen.returncode == 0):
            deed = self._chronicle.begin("died", slot.role.value, target=slot.name, pid=slot.outer)
            self._open[slot.name] = [deed]
            self._look(slot, deed)

    def _ready(self, slot: Slot) -> None:
        """End the deeds whose successor this is."""
        for name in [name for name in self._open if name.rpartition("-")[0] == slot.name.rpartition("-")[0]]:
            for deed in self._open.pop(name):
                self._chronicle.end(deed)

    async def _do(self, fault: Fault) -> None:
        try:
            if fault.role in {Role.REDIS, Role.NETWORK, Role.DISK}:
                await self._shared.do(fault)
            elif fault.role is Role.ISOLATION:
                async with self._isolation:
                    await self._isolation_fault()
            elif fault.role is Role.SENDER:
                await self._mail_fault()
            else:
                await self._process_fault(fault)
        except Impossible as why:
            self._chronicle.skipped.append(f"{fault.role} {fault.act}: {why}")

    async def _process_fault(self, fault: Fault) -> None:
        slot, pid, waited = await self._target(fault)
        if fault.role is not Role.HORSE:
            slot.pause = fault.seconds if fault.act is not Act.STOP else slot.pause
            slot.told, slot.hit = fault.act is Act.RESTART, fault.act is Act.KILL
            slot.stopped = fault.act is Act.STOP
        # The worker of a horse lives, and gives the job back at once.
        jobs = await asyncio.to_thread(self._held, slot) if fault.role is Role.HORSE else []
        deed = self._chronicle.begin(fault.act.value, fault.role.value, target=slot.name, pid=pid)
        deed.jobs, deed.waited = frozenset(jobs), waited
        self._signal(pid, SIGNALS[fault.act])
        self._look(slot, deed)
        if fault.role is Role.HORSE:
            self._chronicle.end(deed)
            return
        self._open.setdefault(slot.name, []).append(deed)
        if fault.act is Act.STOP:
            await self._resume(slot, pid, deed, after=fault.seconds)

    async def _resume(self, slot: Slot, pid: int, deed: Deed, *, after: float) -> None:
        """Let a stopped process go on, if it is there: the supervisor of a sync worker ends it with its lease.

        That is the stop's doing, which is over when the successor works, as after a kill.
        """
        await asyncio.sleep(after)
        if slot.name == deed.target and slot.process.popen.poll() is None:
            self._signal(pid, signal.SIGCONT)
            slot.stopped = False
            self._open.pop(slot.name)
            self._chronicle.end(deed)

    async def _target(self, fault: Fault) -> tuple[Slot, int, float]:
        """Give the process that is meant, with its slot: a worker that is at work, if there is one soon.

        The last number is for how many seconds it had to wait until enough others worked. Raises Impossible.
        """
        began, spared = time.monotonic(), None
        while (waited := time.monotonic() - began) < ANY_TIME:
            slots = [slot for slot in self._platform.slots if slot.role is SLOTS.get(fault.role, fault.role)]
            slots = slots[fault.which :] + slots[: fault.which]
            ready = [
                slot for slot in slots if slot.works and (enough_left(slot, slots, fault) or waited > self._patience)
            ]
            if ready and spared is None:
                spared = waited
            idle = ready if fault.at_once or waited > (spared or 0.0) + AT_WORK else []
            for slot in [slot for slot in ready if self._busy(slot, fault)] or idle:
                pids = {Role.HORSE: slot.horse, Role.SUPERVISOR: slot.outer}
                if pid := pids.get(fault.role, slot.pid):
                    return slot, pid, spared or 0.0
            await asyncio.sleep(0.02)
        raise Impossible("no such process was there")

    def _busy(self, slot: Slot, fault: Fault) -> bool:
        """Say whether there is something to hit: what the worker can't end before its jobs are taken from it."""
        if slot.role is Role.SYNC:
            if (horse := slot.horse) is None:
                return False
            if fault.act is Act.KILL:
                return self._at_work.lasts(horse, age=slot.job_age())
            return self._at_work.left(horse) > (ENDS if fault.act is Act.RESTART else min(fault.seconds, LEASE) + 0.5)
        return slot.role is not Role.LLM or len(self._at_work.requests(slot.name)) >= REQUESTS

    async def _isolation_fault(self) -> None:
        """End the server of a worker's suspects while they ask the provider. Raises Impossible."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < SUSPECT:
            for number in range(SIZES[Role.LLM]):
                slot = self._platform.slot(Role.LLM, number)
                server = next((child for child in children(slot.outer) if children(child)), None)
                suspects = await asyncio.to_thread(self._suspects, slot) if server else {}
                asking = suspects.keys() & set(self._at_work.requests(slot.name))
                enough = len(asking) >= (SUSPECTS if waited < SUSPECT / 2 else 1)
                if server and enough and children(server):
                    deed = self._chronicle.begin("SIGKILL", Role.ISOLATION.value, target=slot.name, pid=server)
                    self._signal(server, signal.SIGSTOP)  # it starts no other before it is killed
                    suspects |= await asyncio.to_thread(self._suspects, slot)
                    self._signal(server, signal.SIGKILL)
                    deed.jobs = frozenset(suspects.values())
                    self._chronicle.end(deed)
                    return
            await asyncio.sleep(0.02)
        raise Impossible("there was no suspect")

    async def _mail_fault(self) -> None:
        """End the process of a job whose mail is taken, and that has written it down. Raises Impossible."""
        began = time.monotonic()
        while time.monotonic() - began < SENDING:
            for slot in [slot for slot in self._platform.slots if slot.role is Role.SYNC and self._leaving.jobs()]:
                held, horse = await asyncio.to_thread(self._held, slot), slot.horse
                if horse and (jobs := self._leaving.jobs() & set(held)):
                    deed = self._chronicle.begin("SIGKILL", Role.SENDER.value, target=slot.name, pid=horse)
                    self._signal(horse, signal.SIGKILL)
                    deed.jobs = jobs
                    self._chronicle.end(deed)
                    return
            await asyncio.sleep(0.05)
        raise Impossible("nobody had sent a mail and was still there")

    def _held(self, slot: Slot) -> list[str]:
        with suppress(redis.RedisError):
            return running(self._redis, slot.role, slot.worker)
        return []

    def _suspects(self, slot: Slot) -> dict[str, str]:
        """Give the ids of a worker's suspects by their markers."""
        with suppress(redis.RedisError, StoreUnavailable):
            jobs = running(self._redis, Role.LLM, slot.worker, crashes=SUSPICIOUS)
            return {_marker(self._redis, job): job for job in jobs}
        return {}

    @staticmethod
    def _signal(pid: int, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)

    def _look(self, slot: Slot, deed: Deed) -> None:
        """Note which jobs run in this process, as soon as Redis answers: their leases last longer."""
        if slot.role not in {Role.LLM, Role.SYNC}:
            return
        task = asyncio.create_task(self._note(slot.worker, slot.role, deed))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _note(self, worker: str, role: Role, deed: Deed) -> None:
        await asyncio.sleep(SETTLE)
        while True:
            try:
                deed.jobs |= frozenset(await asyncio.to_thread(running, self._redis, role, worker))
            except redis.RedisError:
                await asyncio.sleep(RETRY)
                continue
            return


def _marker(client: Any, job: str) -> str:
    """Find the marker in what was submitted."""
    found = MARKER.search((Book(client).run(read_input(job)) or b"").decode())
    return found[0] if found else ""


def running(client: Any, role: Role, worker: str, *, crashes: int = 0) -> list[str]:
    """List the jobs whose lease this worker of the role's pool holds, and that have so many crashes behind them."""
    if role is Role.LLM:
        ids = [job.decode() for job in client.zrange("tandem:leases:llm", 0, -1)]
    else:
        ids = [member.decode().rpartition(":")[0] for key in WIP for member in client.zrange(key, 0, -1)]
    found = []
    for job in ids:
        holder, status, times = client.hmget(f"tandem:job:{job}", "worker", "status", "crashes")
        if status == b"running" and holder and worker in holder.decode() and int(times or 0) >= crashes:
            found.append(job)
    return found
