"""Who is measured, and with which settings."""

import sys
from dataclasses import dataclass

from bench import tally
from bench.lab import PEERS_PYTHON, Lab, Running
from bench.tally import Entry


@dataclass(frozen=True)
class Contender:
    """One engine; `settings` says in words how it is set up."""

    name: str
    module: str
    settings: str
    peers: bool = True  # runs in the peers' environment
    part: str = ""  # of this platform, run by bench.extended
    kind: str = "noop"
    concurrency: int = 100
    pool: str = ""
    jobs: int = 1500  # no-ops in one drain; the slower the engine the fewer

    def command(self, role: str, *arguments: object) -> list[str]:
        python = str(PEERS_PYTHON) if self.peers else sys.executable
        return [python, "-m", f"bench.peers.{self.module}", role, *map(str, arguments)]

    def worker_command(self, kind: str) -> list[str]:
        if self.part:
            return [sys.executable, "-m", "bench.extended", self.part]
        pool = ["--pool", self.pool] if self.pool else []
        return self.command("worker", "--concurrency", self.concurrency, "--kind", kind, *pool)


OURS_LLM = Contender(
    "Tandem LLM pool", "ours", "defaults, 100 jobs at once", peers=False, part="tandem.llm_worker", jobs=4000
)
OURS_SYNC = Contender(
    "Tandem sync pool",
    "ours",
    "defaults, a fork per job",
    peers=False,
    part="tandem.sync_worker",
    kind="sync",
    jobs=200,
)
ARQ = Contender("arq", "arq_stock", "max_jobs=100, uvloop, the rest as it comes", peers=False)
SAQ = Contender("SAQ", "saq_app", "concurrency=100, uvloop")
TASKIQ = Contender(
    "Taskiq", "taskiq_app", "Redis stream broker, result backend, max_async_tasks=100, uvloop", jobs=3000
)
STREAQ = Contender("streaQ", "streaq_app", "concurrency=100, uvloop")
CELERY = Contender(
    "Celery prefork", "celery_app", "Redis broker and result backend, -c 2", concurrency=2, pool="prefork", jobs=1200
)
GEVENT = Contender(
    "Celery gevent", "celery_app", "Redis broker and result backend, -P gevent -c 100", pool="gevent", jobs=1200
)
RQ = Contender("RQ fork", "rq_stock", "Worker, as it comes", peers=False, concurrency=1, jobs=150)
RQ_SIMPLE = Contender(
    "RQ SimpleWorker", "rq_stock", "no fork: no isolation", peers=False, pool="simple", concurrency=1, jobs=400
)
LLM_PEERS = (ARQ, SAQ, TASKIQ, STREAQ, CELERY, GEVENT)
EVERYBODY = (OURS_LLM, *LLM_PEERS, OURS_SYNC, RQ, RQ_SIMPLE)


@dataclass
class Trial:
    """One contender in one lab: a tally, a gate, workers."""

    lab: Lab
    contender: Contender
    number: str

    def __post_init__(self) -> None:
        self.path = self.lab.folder / f"{self.number}.tally"
        self.gate = self.lab.folder / f"{self.number}.gate"
        self.env = {tally.VARIABLE: str(self.path), tally.GATE: str(self.gate), "TANDEM_LLM_CONCURRENCY": "100"}

    def workers(self, number: int, *, kind: str = "noop", **env: str) -> list[Running]:
        """Start workers that have imported everything and stop at the gate."""
        command = self.contender.worker_command(kind)
        name = f"{self.contender.name} worker"
        started = [self.lab.start(command, name=name, env=self.env | env) for _ in range(number)]
        for worker in started:
            worker.until_says(tally.AT_THE_GATE, patience=90)
        return started

    def open(self) -> None:
        self.gate.touch()

    def run(self, role: str, *, jobs: int, kind: str = "", seconds: float = 0.0, patience: float = 120.0) -> str:
        """Let the client of this engine hand jobs over; gives what it printed."""
        arguments = ["--jobs", jobs, "--kind", kind or self.contender.kind, "--seconds", seconds]
        command = self.contender.command(role, *arguments)
        return self.lab.start(command, name=f"{self.contender.name} {role}", env=self.env).wait(patience=patience)

    def entries(self) -> list[Entry]:
        return tally.read(self.path)

    def count(self) -> int:
        return tally.count(self.path)
