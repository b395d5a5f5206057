"""`python -m tandem.llm_worker.isolation.server PARENT`: forks a process for each suspect's attempt.

It has imported everything and read the settings, so that such a process starts in milliseconds. Its worker writes
commands to its standard input, one JSON object a line: `{"run": N, "lease": {...}}`, `{"signal": N, "number": 15}`.
It answers `N started` and `N ended CODE`. The outcome itself goes to the job book; the code is 0 then.
"""

import asyncio
import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, NoReturn

from tandem.shared.runtime import parent_death
from tandem.shared.store.commands import Lease

IDLE = 60.0  # seconds without a suspect after which it ends
CHUNK = 65_536


def to_json(lease: Lease) -> dict[str, Any]:
    """Give a lease for another process."""
    return asdict(lease) | {"created_at": lease.created_at.isoformat()}


def from_json(fields: dict[str, Any]) -> Lease:
    """Read what `to_json` gave."""
    return Lease(**fields | {"created_at": datetime.fromisoformat(fields["created_at"])})


async def attempt_alone(ctx: dict[str, Any], lease: Lease) -> None:
    """Run the attempt; SIGTERM hands it back."""
    from tandem.llm_worker import main  # noqa: PLC0415 - heavy, and the worker that starts this has it already
    from tandem.llm_worker.engine.attempt import attempt  # noqa: PLC0415 - as above

    await main.startup(ctx)
    task = asyncio.create_task(attempt(ctx, lease), name=f"{lease.task} {lease.id}")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    finally:
        await main.shutdown(ctx)


class Quarantine:
    """The suspects of one worker."""

    def __init__(self, ctx: dict[str, Any]) -> None:
        self._ctx = ctx
        self._runs: dict[int, int] = {}  # number to process
        self._read, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Do what the worker says, until it says no more or has had nothing to say for long."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._read], [], [], IDLE)
            if not ready and not self._runs:
                return
            if self._read in ready:
                os.read(self._read, CHUNK)
            self._reap()
            if 0 in ready:
                if not (chunk := os.read(0, CHUNK)):
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._heed(json.loads(line))

    def _heed(self, command: dict[str, Any]) -> None:
        if "run" in command:
            self._start(command["run"], from_json(command["lease"]))
        elif (pid := self._runs.get(command["signal"])) is not None:
            _signal(pid, command["number"])

    def _start(self, number: int, lease: Lease) -> None:
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            self._live(parent, lease)
        self._runs[number] = pid
        _say(f"{number} started")

    def _live(self, parent: int, lease: Lease) -> NoReturn:
        """Be the process of one attempt."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            parent_death.die_with(parent, signal.SIGKILL)
            os.dup2(2, 1)  # what it prints is no answer to the worker
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            asyncio.run(attempt_alone(self._ctx, lease))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may go back into the loop of `serve`
            traceback.print_exc()
        finally:
            os._exit(code)  # a handler's threads don't keep it

    def _reap(self) -> None:
        """Tell of those that have ended; what they started ends with them."""
        for number, pid in list(self._runs.items()):
            if ended := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                _signal(ended.si_pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
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


def main() -> None:
    parent_death.die_with(int(sys.argv[1]), signal.SIGKILL)
    from tandem.llm_worker import main as worker  # noqa: PLC0415 - after it is sure to end with its parent
    from tandem.shared.runtime.bootstrap import prepare  # noqa: PLC0415 - as above

    Quarantine(worker.context(prepare())).serve()


if __name__ == "__main__":
    main()
