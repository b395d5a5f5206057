"""Where an isolation server comes from: forked ahead by its worker, and started anew if that one is lost."""

import asyncio
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tandem.llm_worker.isolation import server
from tandem.shared.runtime import parent_death

if TYPE_CHECKING:
    from tandem.shared.config.settings import Settings


@dataclass(frozen=True)
class ServerProcess:
    """A child of this process. `commands` and `answers` are this end's file descriptors of its pipes."""

    pid: int
    commands: int
    answers: int

    async def end(self) -> None:
        """Kill it, and so its children, and wait for its end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, self.pid, 0)

    def close(self) -> None:
        """Close the pipes, where nobody has taken them over."""
        os.close(self.commands)
        os.close(self.answers)


def fork(settings: "Settings") -> ServerProcess:
    """Fork a server off a process with one thread and no event loop: it is there at once, and shares what it needs."""
    asyncio.run(server.warm_up(settings))
    stdin, commands = os.pipe()
    answers, stdout = os.pipe()
    worker, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(commands)  # else it would never see that its worker says no more
        os.close(answers)
        _serve(settings, worker, stdin, stdout)
    os.close(stdin)
    os.close(stdout)
    return ServerProcess(pid, commands, answers)


def _serve(settings: "Settings", worker: int, stdin: int, stdout: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        parent_death.die_with(worker, signal.SIGKILL)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)
        server.IsolationServer(settings).serve()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may go back into the worker's code
        traceback.print_exc()
    finally:
        os._exit(code)


def spawn() -> ServerProcess:
    """Start a server from a process that can't be forked any more, as it has threads. Raises OSError."""
    stdin, commands = os.pipe()
    answers, stdout = os.pipe()
    words = (sys.executable, "-m", server.__name__, str(os.getpid()))
    pipes = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    try:
        pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=pipes, setsid=True)
    except OSError:
        os.close(commands)
        os.close(answers)
        raise
    finally:
        os.close(stdin)
        os.close(stdout)
    return ServerProcess(pid, commands, answers)
