"""A worker's side of isolation: talks to the server from the first suspect on, and knows what became of each."""

import asyncio
import json
import logging
import os
from typing import Any

from tandem.llm_worker.isolation import processes
from tandem.llm_worker.isolation.ipc import lease_to_json
from tandem.llm_worker.isolation.processes import ServerProcess
from tandem.shared.store.leases import Lease

log = logging.getLogger("tandem.llm_worker")


class Run:
    """One suspect's process. `code` is None as long as it runs, and where nobody knows how it ended.

    `stood_still` is for how many seconds its time limit has stood still, as it waits for a limit.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.started = False
        self.stood_still = 0.0
        self.code: int | None = None
        self.over = asyncio.Event()


class IsolationSupervisor:
    """The isolated attempts of one worker. `ahead` is the server that it has forked; if it is lost, another follows."""

    def __init__(self, ahead: ServerProcess | None = None) -> None:
        self._ahead = ahead
        self._number = 0
        self._runs: dict[int, Run] = {}
        self._unsent: list[bytes] = []
        self._commands: asyncio.WriteTransport | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self, lease: Lease) -> Run:
        """Start the attempt in a process of its own."""
        self._number += 1
        run = self._runs[self._number] = Run(self._number)
        self._tell({"run": run.number, "lease": lease_to_json(lease)})
        return run

    def signal(self, run: Run, number: int) -> None:
        """Send a signal to the process and what it started."""
        self._tell({"signal": run.number, "number": int(number)})

    async def aclose(self) -> None:
        """End the server, and with it the attempts that are left."""
        if self._serving:
            self._serving.cancel()
            await asyncio.wait([self._serving])
        if self._ahead:
            self._ahead.close()
            await self._ahead.end()

    def _tell(self, command: dict[str, Any]) -> None:
        line = json.dumps(command).encode() + b"\n"
        if self._commands:
            self._commands.write(line)
            return
        self._unsent.append(line)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(), name="isolation")

    async def _serve(self) -> None:
        """Keep the server until it ends; attempts that still run then are over."""
        try:
            await self._talk()
        except OSError as error:
            log.warning("isolated attempts have to wait: %s", error)
        finally:
            self._commands = None
            self._unsent.clear()
            for run in self._runs.values():
                run.over.set()
            self._runs.clear()

    async def _talk(self) -> None:
        process, self._ahead = self._ahead or processes.spawn(), None
        try:
            answers, self._commands = await _connect(process)
            self._commands.writelines(self._unsent)
            self._unsent.clear()
            while line := await answers.readline():
                self._note(line.decode().split())
        finally:
            if self._commands:
                self._commands.close()
            await process.end()

    def _note(self, words: list[str]) -> None:
        match words:
            case [number, "started"]:
                self._runs[int(number)].started = True
            case [number, "stood", seconds]:
                self._runs[int(number)].stood_still = float(seconds)
            case [number, "ended", code]:
                run = self._runs.pop(int(number))
                run.code = int(code)
                run.over.set()


async def _connect(process: ServerProcess) -> tuple[asyncio.StreamReader, asyncio.WriteTransport]:
    loop, answers = asyncio.get_running_loop(), asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(answers)
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(process.answers, "rb", 0))
    commands, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(process.commands, "wb", 0))
    return answers, commands
