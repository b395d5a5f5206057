"""Real workers of the asyncio pool, from a copy of the project with a task that misbehaves as it is told."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Job
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import submit
from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec
from tests.support.jobs import PLENTY
from tests.support.processes import Process, until
from tests.support.sources import copy_sources

SPEC = '''
"""A task that misbehaves."""

from datetime import timedelta
from typing import Any

from shared.spec import Input, Output, Queue, RetryPolicy, TaskSpec


class OddInput(Input):
    how: str
    marks: str = ""
    seconds: float = 0


class OddOutput(Output):
    done: Any


ODD = TaskSpec(
    name="odd", queue=Queue.LLM, summary="Odd.", input=OddInput, output=OddOutput, example={"how": "well"},
    timeout=timedelta(seconds=30), retry=RetryPolicy(max_attempts=2, base=timedelta(milliseconds=100)),
)
'''

HANDLER = """
import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from llm_worker.context import handles
from shared.catalog.odd import ODD, OddOutput

KEPT = []


async def leave():
    sys.exit(3)


@handles(ODD)
async def odd(ctx, job):
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{time.time_ns()}.{os.getpid()}").touch()
    match job.how:
        case "segfault":
            await asyncio.sleep(job.seconds)
            ctypes.string_at(0)
        case "kill":
            await asyncio.sleep(job.seconds)
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit beside":
            async with asyncio.TaskGroup() as group:
                group.create_task(leave())
        case "exit alone":
            asyncio.get_running_loop().call_soon(sys.exit, 3)
        case "block":
            await asyncio.create_task(block(job.seconds))
        case "leak":
            KEPT.append(b"x" * 200_000_000)
        case "wait":
            await asyncio.sleep(job.seconds)
    return OddOutput(done=os.getpid())


async def block(seconds):
    time.sleep(seconds)
"""

PLAIN = """
import os
import time
from pathlib import Path

from arq import cron
from arq.worker import Retry, func

from llm_worker.main import WorkerSettings as Base


async def double(ctx, number):
    return 2 * number


async def again(ctx):
    if ctx["job_try"] == 1:
        raise Retry(defer=0.2)
    return ctx["job_try"]


async def leave(ctx):
    raise SystemExit(3)


async def note(ctx):
    Path(os.environ["HOME"], f"note.{time.time_ns()}").touch()


class WorkerSettings(Base):
    functions = [double, again, leave]
    cron_jobs = [cron(note, second=set(range(60)))]
"""


class OddInput(Input):
    how: str
    marks: str = ""
    seconds: float = 0


class OddOutput(Output):
    done: Any


ODD = TaskSpec(
    name="odd",
    queue=Queue.LLM,
    summary="Odd.",
    input=OddInput,
    output=OddOutput,
    example={"how": "well"},
    timeout=timedelta(seconds=30),
    retry=RetryPolicy(max_attempts=2, base=timedelta(milliseconds=100)),
)


def project(folder: Path, *, quick: bool = False) -> Path:
    """Make the copy; `quick` with leases that end sooner."""
    copy_sources(folder, "llm_worker", "shared")
    (folder / "shared/tasks/catalog/odd.py").write_text(SPEC)
    (folder / "llm_worker/handlers/odd.py").write_text(HANDLER)
    (folder / "plain.py").write_text(PLAIN)
    if quick:
        for name, was, becomes in (("LEASE", "6", "2"), ("RENEW_EVERY", "1", "0.2"), ("GAP", "3", "30")):
            shorten(folder / "shared/store/scripts.py", f"{name} = timedelta(seconds={was})", becomes)
    return folder


def shorten(file: Path, line: str, seconds: str) -> None:
    text = file.read_text()
    assert line in text
    file.write_text(text.replace(line, f"{line.partition('=')[0]}= timedelta(seconds={seconds})"))


@dataclass
class Pool:
    """Workers on one server; `marks` is where each run of a handler leaves a file."""

    book: Book
    url: str
    copy: Path
    folder: Path
    stack: ExitStack
    env: dict[str, str] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)

    def start(self, *command: str, says: str = "ready", **env: str) -> Process:
        """Start a worker (or another command) in the copy."""
        self.folder.mkdir(exist_ok=True)
        given = {"REDIS_URL": self.url, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "RUN_DIR": str(self.folder)}
        given |= {"TANDEM_GRACE": "1", "HOME": str(self.folder), "TANDEM_LOG_FORMAT": "console", **env}
        line = list(command) or [sys.executable, "-m", "tandem.llm_worker"]
        process = Process(line, env=given, log=self.folder / f"{len(self.started)}.log", cwd=self.copy)
        self.started.append(process)
        self.stack.callback(process.stop)
        if says:
            process.until_says(says)
        return process

    @property
    def marks(self) -> Path:
        path = self.folder / "marks"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def runs(self, job_id: str = "") -> list[tuple[float, int]]:
        """When (Unix time) and in which process handlers began, in order."""
        found = [path.name.split(".") for path in self.marks.iterdir() if path.name.startswith(job_id)]
        return sorted((int(began) / 1e9, int(pid)) for _, began, pid in found)

    def put(self, how: str = "well", *, marks: bool = True, seconds: float = 0, **options: Any) -> str:
        payload = OddInput(how=how, marks=str(self.marks) if marks else "", seconds=seconds)
        job = submission(ODD, payload, owner="ann", request_id="r", options=Options(**options))
        assert isinstance(self.book.run(submit(job, PLENTY)), Stored)
        return job.id

    def job(self, job_id: str) -> Job:
        job = self.book.run(commands.fetch(job_id))
        assert job is not None
        return job

    def finished(self, job_ids: Sequence[str], *, patience: float = 40) -> list[Job]:
        until(lambda: all(self.job(job_id).finished for job_id in job_ids), patience=patience, what="the jobs' end")
        return [self.job(job_id) for job_id in job_ids]


@contextmanager
def pool(book: Book, url: str, copy: Path, folder: Path) -> Iterator[Pool]:
    with ExitStack() as stack:
        yield Pool(book, url, copy, folder, stack)
