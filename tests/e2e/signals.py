"""Sync workers that are told to stop, or killed, at random moments under load.

`python -m tests.e2e.signals 200 50` is the long run; the suite has a short one.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from tandem.shared.dispatch import submission
from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Job, Status
from tandem.shared.jobs.submission import Admission, Options
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, events
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import RQ_NAMES
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.registry import load
from tandem.shared.tasks.spec import Priority
from tandem.sync_worker.engine.memory import children
from tests.support.processes import Process, until
from tests.support.servers.valkey import Valkey

PRIORITIES = tuple(Priority)
WORKERS = 3
WAITING = 60  # jobs that wait at any time
SPEC = load()["report"]
PAYLOAD = SPEC.input.model_validate({"markdown": "# Signals\n\n" + "Nothing is lost. " * 50})


@dataclass
class Tally:
    """What happened."""

    submitted: list[str] = field(default_factory=list)
    killed: dict[str, list[datetime]] = field(default_factory=dict)  # job to the times its worker was killed
    terms: int = 0
    kills: int = 0


class Workers:
    """Three sync workers and a clock, restarted when they end."""

    def __init__(self, url: str, folder: Path) -> None:
        self._env = {"REDIS_URL": url, "RUN_DIR": str(folder), "TANDEM_GRACE": "1s"}
        self._folder = folder
        self._clock = self._start("tandem.shared.maintenance", name="clock")
        self._running: dict[str, Process] = {}
        self._number = 0

    def _start(self, module: str, *arguments: str, name: str) -> Process:
        return Process([sys.executable, "-m", module, *arguments], env=self._env, log=self._folder / f"{name}.log")

    def refill(self) -> None:
        self._running = {name: worker for name, worker in self._running.items() if worker.popen.poll() is None}
        while len(self._running) < WORKERS:
            self._number += 1
            name = f"w{self._number}"
            self._running[name] = self._start("tandem.sync_worker", "--name", name, name=name)

    def ready(self) -> list[str]:
        return [name for name, worker in self._running.items() if "ready" in worker.output]

    def signal(self, name: str, signum: signal.Signals) -> bool:
        """Send it; False if the worker has just ended, as who was told to stop before."""
        worker = self._running[name]
        try:
            if signum is signal.SIGKILL:  # the worker, not the supervisor before it, which every other signal goes to
                os.kill(worker_of(worker), signum)
            else:
                worker.popen.send_signal(signum)
        except (ValueError, ProcessLookupError):
            return False
        del self._running[name]
        self._running[f"{name}, ending"] = worker  # replaced when it has ended
        return True

    def stop(self) -> None:
        for process in [self._clock, *self._running.values()]:
            process.stop(signal.SIGKILL)


def worker_of(process: Process) -> int:
    """Give the process that claims and forks: the only child of its supervisor. Raises ValueError: it has ended."""
    [worker] = children(process.popen.pid)
    return worker


def run(url: str, folder: Path, *, terms: int, kills: int, seed: int = 1) -> tuple[Tally, list[Job], Book]:
    """Send the signals, then wait until every job has ended."""
    chance, tally, book = random.Random(seed), Tally(), Book(client(url))  # noqa: S311
    todo = [signal.SIGTERM] * terms + [signal.SIGKILL] * kills
    chance.shuffle(todo)
    workers = Workers(url, folder)
    try:
        while todo:
            workers.refill()
            _submit(book, tally, chance)
            time.sleep(chance.uniform(0, 0.3))  # the random moment
            if (ready := workers.ready()) and _send(book, tally, workers, chance.choice(ready), todo[-1]):
                todo.pop()

        def ended() -> bool:
            workers.refill()
            return all(_job(book, job_id).finished for job_id in tally.submitted)

        until(ended, patience=120, what="the end of all jobs")
    finally:
        workers.stop()
    return tally, [_job(book, job_id) for job_id in tally.submitted], book


def _submit(book: Book, tally: Tally, chance: random.Random) -> None:
    connection: Any = book.client
    waiting = sum(connection.zcard(f"tandem:waiting:{name}") for name in RQ_NAMES.values())
    for _ in range(WAITING - waiting):
        options = Options(priority=chance.choice(PRIORITIES))
        job = submission(SPEC, PAYLOAD, owner="ann", request_id="r", options=options)
        book.run(store_job(job, Admission(queue_max=10_000)))
        tally.submitted.append(job.id)


def _send(book: Book, tally: Tally, workers: Workers, name: str, signum: signal.Signals) -> bool:
    if not workers.signal(name, signum):
        return False
    if signum is signal.SIGTERM:
        tally.terms += 1
        return True
    tally.kills += 1
    now, connection = book.run(commands.now()), cast("Any", book.client)
    for job_id in tally.submitted:
        if connection.hget(f"tandem:job:{job_id}", "worker") == name.encode():
            tally.killed.setdefault(job_id, []).append(now)
    return True


def _job(book: Book, job_id: str) -> Job:
    job = book.run(commands.fetch(job_id))
    assert job is not None, f"{job_id} is lost"
    return job


def recoveries(book: Book, tally: Tally) -> Iterator[timedelta]:
    """How long each job of a killed worker took to start elsewhere, if it had not ended by then."""
    for job_id, kills in tally.killed.items():
        starts = [
            datetime.fromisoformat(data["at"])
            for event in book.run(events.read(job_id, after=0))
            if event.kind is Kind.STATUS and (data := _data(event))["status"] == "running"
        ]
        for killed in kills:
            if later := [start for start in starts if start > killed]:
                yield min(later) - killed


def _data(event: Event) -> dict[str, str]:
    data: dict[str, str] = json.loads(event.data)
    return data


def check(tally: Tally, jobs: list[Job], book: Book) -> str:
    """Assert that nothing was lost or doubled; gives a line to print."""
    lost = [job.id for job in jobs if job.status is not Status.SUCCEEDED]
    assert not lost, [(job.id, job.status, job.error) for job in jobs if job.id in lost][:3]
    for job in jobs:
        kinds = [event.kind for event in book.run(events.read(job.id, after=0))]
        assert kinds.count(Kind.END) == 1, f"{job.id} ended {kinds.count(Kind.END)} times"
        crashes = sum(entry["type"] == "worker_crash" for entry in job.attempts)
        assert job.attempt == crashes + 1, f"{job.id}: a SIGTERM has burnt an attempt"
    slowest = max(recoveries(book, tally), default=timedelta(0))
    return (
        f"{tally.terms} SIGTERMs, {tally.kills} SIGKILLs, {len(jobs)} jobs in three queues: "
        f"all succeeded once, slowest recovery {slowest.total_seconds():.1f} s"
    )


@contextmanager
def _server() -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "v").mkdir()
        server = Valkey(Path(folder) / "v")
        try:
            yield server.url, Path(folder)
        finally:
            server.kill()


if __name__ == "__main__":
    with _server() as (redis_url, run_dir):
        print(check(*run(redis_url, run_dir, terms=int(sys.argv[1]), kills=int(sys.argv[2]))))  # noqa: T201
