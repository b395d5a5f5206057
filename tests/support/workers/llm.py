"""Real workers of the asyncio pool, with a task that misbehaves as it is told."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem.shared.dispatch import submission
from tandem.shared.jobs.model import Job
from tandem.shared.jobs.submission import Options, Stored
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import PLENTY
from tests.support.processes import Process, until
from tests.support.tasks import WITH_TASKS
from tests.support.tasks.specs import ODD, OddInput


@dataclass
class Pool:
    """Workers on one server; `marks` is where each run of a handler leaves a file."""

    book: Book
    url: str
    folder: Path
    stack: ExitStack
    env: Mapping[str, str]
    started: list[Process] = field(default_factory=list)

    def start(self, *command: str, says: str = "ready", **env: str) -> Process:
        """Start a worker, or another command."""
        self.folder.mkdir(exist_ok=True)
        given = {"REDIS_URL": self.url, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "RUN_DIR": str(self.folder)}
        given |= {
            **WITH_TASKS,
            **self.env,
            "TANDEM_GRACE": "1",
            "HOME": str(self.folder),
            "TANDEM_LOG_FORMAT": "console",
            **env,
        }
        line = list(command) or [sys.executable, "-m", "tandem.llm_worker"]
        process = Process(line, env=given, log=self.folder / f"{len(self.started)}.log")
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
        assert isinstance(self.book.run(store_job(job, PLENTY)), Stored)
        return job.id

    def job(self, job_id: str) -> Job:
        job = self.book.run(commands.fetch(job_id))
        assert job is not None
        return job

    def finished(self, job_ids: Sequence[str], *, patience: float = 60) -> list[Job]:
        until(lambda: all(self.job(job_id).finished for job_id in job_ids), patience=patience, what="the jobs' end")
        return [self.job(job_id) for job_id in job_ids]


@contextmanager
def pool(book: Book, url: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Pool]:
    """A place for workers with `env`; they end with the block."""
    with ExitStack() as stack:
        yield Pool(book, url, folder, stack, env or {})
