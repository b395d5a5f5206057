"""Starts the parts, restarts those that die, stops them in order, prefixes what they print.

honcho restarts nothing, circus stops all at once, supervisord prefixes no output; this is the smallest
thing that does the three.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from tandem.deploy.local.parts import Part
from tandem.shared.runtime.parent_death import die_with
from tandem.shared.types.backoff import Backoff

CHECK_EVERY = 0.1  # seconds
START_LIMIT = 60.0  # seconds until a part must answer
RESTARTS = Backoff(base=timedelta(milliseconds=200), cap=timedelta(seconds=5))
HEALTHY_AFTER = 10.0  # seconds after which a death counts as the first again
CHUNK, LONGEST_LINE = 65_536, 8_192  # bytes of output
KILL_AFTER = 5.0  # seconds beyond the grace time
STOPPED = "stopped"  # asked to, before everything was up
DEFAULTS = {"PYTHONUNBUFFERED": "1"}  # somebody reads along
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95)


class StartFailed(Exception):
    """A part ended, or did not answer, before everything was up."""


class Supervisor:
    """Keeps `parts` running until told to stop."""

    def __init__(self, parts: list[Part], *, grace: float) -> None:
        self._parts = parts
        self._grace = grace
        self._width = max(len(part.name) for part in parts)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._up: dict[str, asyncio.Event] = {part.name: asyncio.Event() for part in parts}
        self._all_up = False
        self.stopping = asyncio.Event()
        self._failure: str | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-")
        self._address = f"{self._folder.name}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    async def start(self) -> None:
        """Start helpers, then the rest; returns when every part answers.

        Raises:
            StartFailed: one does not.

        """
        self._socket.bind(self._address)
        self._socket.settimeout(0)
        asyncio.get_running_loop().add_reader(self._socket, self._notified)
        for helper in (True, False):
            stage = [part for part in self._parts if part.helper is helper]
            for part in stage:
                self._keepers[part.name] = asyncio.create_task(self._keep(part))
            await self._until_up(stage)
        self._all_up = True

    async def stop(self) -> None:
        """Stop the parts that do the work, then the helpers they need; what does not end in time is killed."""
        self.stopping.set()
        for helper in (False, True):
            await self._stop([part.name for part in self._parts if part.helper is helper])
        self._socket.close()
        self._folder.cleanup()

    async def _until_up(self, stage: list[Part]) -> None:
        deadline = time.monotonic() + START_LIMIT
        while missing := [part for part in stage if not await self._answers(part)]:
            if self.stopping.is_set():
                raise StartFailed(self._failure or STOPPED)
            if time.monotonic() > deadline:
                raise StartFailed(f"no answer from {', '.join(part.name for part in missing)}")
            await asyncio.sleep(CHECK_EVERY)

    async def _answers(self, part: Part) -> bool:
        if part.check and not self._up[part.name].is_set() and await asyncio.to_thread(part.check):
            self._up[part.name].set()
        return self._up[part.name].is_set()

    def _notified(self) -> None:
        message = self._socket.recv(1024).decode()
        pid = int(message.partition("MAINPID=")[2] or 0)
        for name, process in self._processes.items():
            if process.pid == pid:
                self._up[name].set()

    async def _keep(self, part: Part) -> None:
        """Run a part again and again, with a growing pause if it keeps dying."""
        pauses = RESTARTS.delays()
        while not self.stopping.is_set():
            started = time.monotonic()
            code = await self._run_safely(part)
            if self.stopping.is_set():
                return
            if not self._all_up:
                self._failure = f"{part.name} ended with {code} before everything was up"
                self.stopping.set()
                return
            if time.monotonic() - started > HEALTHY_AFTER:
                pauses = RESTARTS.delays()
            pause = next(pauses).total_seconds()
            self.say(f"{part.name} ended with {code}, starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _run_safely(self, part: Part) -> int:
        """Whatever goes wrong with one part, it is started again and the others go on."""
        try:
            return await self._run(part)
        except Exception as error:  # noqa: BLE001 - see above
            self.say(f"{part.name}: {error!r}")
            if (process := self._processes.get(part.name)) and process.returncode is None:
                process.kill()
            return -1

    async def _run(self, part: Part) -> int:
        process = await asyncio.create_subprocess_exec(
            *part.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**DEFAULTS, **os.environ, "NOTIFY_SOCKET": self._address},
            # A session of its own: Ctrl-C reaches only the supervisor, which stops the parts in order.
            start_new_session=True,
            preexec_fn=partial(die_with, os.getpid(), signal.SIGTERM),
        )
        self._processes[part.name] = process
        assert process.stdout  # noqa: S101 - a pipe was asked for
        rest = b""
        while chunk := await process.stdout.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > CHUNK:  # a line without end
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._show(part, line[:LONGEST_LINE])
        return await process.wait()

    async def _stop(self, names: Iterable[str]) -> None:
        running = {name: self._processes[name] for name in names if name in self._processes}
        _signal(running.values(), signal.SIGTERM)
        keepers = [self._keepers[name] for name in names if name in self._keepers]
        if not keepers:
            return
        _, late = await asyncio.wait(keepers, timeout=self._grace + KILL_AFTER)
        if late:
            self.say(f"killing what has not ended: {', '.join(running)}")
            _signal(running.values(), signal.SIGKILL)
            await asyncio.wait(late, timeout=KILL_AFTER)

    def _show(self, part: Part, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        label = f"{part.name:<{self._width}} |"
        if sys.stdout.isatty():
            colour = COLOURS[self._parts.index(part) % len(COLOURS)]
            label = f"\x1b[{colour}m{label}\x1b[0m"
        self.say(f"{label} {text}")

    def say(self, text: str) -> None:
        """Print a line; when nobody reads any more (`make run | head`), stop."""
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self.stopping.set()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _signal(processes: Iterable[asyncio.subprocess.Process], signum: signal.Signals) -> None:
    for process in processes:
        if process.returncode is None:
            process.send_signal(signum)
