"""Real sync workers that run `rq_functions`, enqueued with plain RQ."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rq import Queue

from tandem.shared.jobs.model import Job
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tests.support.processes import Process, until

AT_ONCE = "SYNC_CONCURRENCY_OF_TESTS"  # how many jobs a worker runs at once, where a test does not say it
FUNCTIONS = "tests.support.tasks.rq_functions"


@dataclass
class Pool:
    """Workers and what they leave in `folder`."""

    book: Book
    folder: Path
    env: dict[str, str]
    started: list[Process] = field(default_factory=list)

    def start(self, *arguments: str) -> Process:
        """Start a worker, which is killed in the end if it still runs then."""
        process = Process(
            [sys.executable, "-m", "tandem.sync_worker", *arguments], env=self.env, log=self.folder / "worker.log"
        )
        self.started.append(process)
        return process

    def kill(self) -> None:
        """Kill what runs still: it would take the jobs of later tests."""
        for process in self.started:
            if process.popen.poll() is None:
                family = psutil.Process(process.popen.pid).children(recursive=True)
                process.stop(signal.SIGKILL)
                for member in family:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()

    def enqueue(self, function: str, *arguments: Any, **options: Any) -> str:
        queue = Queue("default", connection=self.book.client, serializer="json")
        return str(queue.enqueue(f"{FUNCTIONS}.{function}", *arguments, **options).id)

    def job(self, job_id: str) -> Job | None:
        return self.book.run(commands.fetch(job_id))

    def ended(self, job_id: str) -> Job:
        return until(lambda: (job := self.job(job_id)) and job.finished and job, what=f"the end of {job_id}") or _none()

    def marks(self, kind: str) -> list[int]:
        """The ids of processes that left a mark."""
        return [int(mark.suffix[1:]) for mark in self.folder.glob(f"{kind}.*")]


def _none() -> Job:
    raise AssertionError


def worker_of(process: Process) -> psutil.Process:
    """The worker behind its supervisor."""
    [worker] = psutil.Process(process.popen.pid).children()
    return worker


@contextmanager
def pool(redis_url: str, folder: Path, **settings: str) -> Iterator[Pool]:
    """A place for workers."""
    env = {"REDIS_URL": redis_url, "RUN_DIR": str(folder), "TANDEM_RQ_IMPORTS": FUNCTIONS}
    if at_once := os.environ.get(AT_ONCE):
        env["TANDEM_SYNC_CONCURRENCY"] = at_once
    with client(redis_url) as connection:
        made = Pool(Book(connection), folder, env | settings)
        try:
            yield made
        finally:
            made.kill()
