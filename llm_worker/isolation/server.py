"""Forks a process for each suspect's attempt.

A worker forks it as it starts, or runs `python -m tandem.llm_worker.isolation.server PID` once that one is lost.
It has imported everything and read the settings, so that such a process starts in milliseconds. Its worker writes
commands (`ipc.py`) to its standard input. The outcome of an attempt goes to the job book; the code is 0 then.
"""

import asyncio
import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from tandem.llm_worker.isolation.ipc import SharedNumber, lease_from_json
from tandem.shared.runtime import parent_death
from tandem.shared.store.leases import Lease

if TYPE_CHECKING:
    from tandem.shared.config.settings import Settings

CHUNK = 65_536
BEAT = 1.0  # seconds


async def run_attempt(settings: "Settings", lease: Lease, stood: SharedNumber) -> None:
    """Run the attempt; SIGTERM hands it back. `stood` is how long its time limit stands still."""
    from tandem.llm_worker.engine import loop_errors  # noqa: PLC0415 - heavy; `main` has imported them by now
    from tandem.llm_worker.engine.attempt import attempt  # noqa: PLC0415 - as above
    from tandem.llm_worker.runtime import Runtime  # noqa: PLC0415 - as above

    loop_errors.log_them(asyncio.get_running_loop())
    async with Runtime.open(settings) as runtime:
        context = copy_context()
        task = asyncio.create_task(attempt(runtime, lease), name=f"{lease.task} {lease.id}", context=context)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        telling = asyncio.create_task(_tell(context, stood), name="stood still")
        await asyncio.wait([task])
        telling.cancel()
        task.result()


async def _tell(attempt: Context, stood: SharedNumber) -> None:
    """Say how long the time limit has stood still. Who blocks the event loop says nothing, and so wins no time."""
    from tandem.llm_worker.rate_limit.time_limit import stood_still  # noqa: PLC0415 - as above

    while True:
        stood.value = max(stood.value, stood_still(attempt))
        await asyncio.sleep(BEAT)


@dataclass
class Child:
    """The process of one attempt; `told` is what the worker knows of `stood`."""

    pid: int
    stood: SharedNumber
    told: float = 0.0


class IsolationServer:
    """The processes of one worker's suspects."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._runs: dict[int, Child] = {}  # by number
        self._read, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._read, False)
        for number in (signal.SIGTERM, signal.SIGINT):  # its worker is told too, and says what becomes of the suspects
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Do what the worker says, until it says no more."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._read], [], [], BEAT if self._runs else None)
            if self._read in ready:
                os.read(self._read, CHUNK)
            self._tell()
            self._reap()
            if 0 in ready:
                if not (chunk := os.read(0, CHUNK)):
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._heed(json.loads(line))

    def _heed(self, command: dict[str, Any]) -> None:
        if "run" in command:
            self._start(command["run"], lease_from_json(command["lease"]))
        elif (child := self._runs.get(command["signal"])) is not None:
            _signal(child.pid, command["number"])

    def _start(self, number: int, lease: Lease) -> None:
        stood = SharedNumber()
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            self._live(parent, lease, stood)
        self._runs[number] = Child(pid, stood)
        _say(f"{number} started")

    def _live(self, parent: int, lease: Lease, stood: SharedNumber) -> NoReturn:
        """Be the process of one attempt."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            parent_death.die_with(parent, signal.SIGKILL)
            os.dup2(2, 1)  # what it prints is no answer to the worker
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            asyncio.run(run_attempt(self._settings, lease, stood))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may go back into the loop of `serve`
            traceback.print_exc()
        finally:
            os._exit(code)  # a handler's threads don't keep it

    def _tell(self) -> None:
        """Tell how long time limits have stood still, where that has changed."""
        for number, child in self._runs.items():
            if (stood := child.stood.value) > child.told:
                child.told = stood
                _say(f"{number} stood {stood:.3f}")

    def _reap(self) -> None:
        """Tell of those that have ended; what they started ends with them."""
        for number, child in list(self._runs.items()):
            if ended := os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                _signal(ended.si_pid, signal.SIGKILL)
                _, status = os.waitpid(child.pid, 0)
                del self._runs[number]
                _say(f"{number} ended {os.waitstatus_to_exitcode(status)}")


def _signal(pid: int, number: int) -> None:
    """Signal a process that is not waited for yet, and its group."""
    for send in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            send(pid, number)
            return


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def warm_up(settings: "Settings") -> None:
    """Open once what each attempt opens: what is imported then is shared, and half of its start saved."""
    from tandem.llm_worker.engine import attempt as _  # noqa: F401, PLC0415 - imported once, before the first fork
    from tandem.llm_worker.runtime import Runtime  # noqa: PLC0415 - as in `main`

    async with Runtime.open(settings):
        pass


def main() -> None:
    parent_death.die_with(int(sys.argv[1]), signal.SIGKILL)
    from tandem.llm_worker import runtime  # noqa: PLC0415 - after it is sure to end with its parent
    from tandem.shared.runtime.bootstrap import prepare  # noqa: PLC0415 - as above

    settings = prepare()
    runtime.check(settings)
    asyncio.run(warm_up(settings))
    IsolationServer(settings).serve()


if __name__ == "__main__":
    main()
