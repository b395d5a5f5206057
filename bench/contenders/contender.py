"""What a contender is: one engine with its settings, and the commands that start it."""

import os
import sys
from dataclasses import dataclass

from bench.lab.lab import PEERS_PYTHON

CORES = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One engine; `settings` says in words how it is set up.

    `judged`: a verdict compares it, so it is measured three times in whole runs; the others are measured once.
    """

    name: str
    module: str  # its adapter in bench/peers/
    settings: str
    peers: bool = True  # runs in the peers' environment
    part: str = ""  # of this platform, run by bench.jobs.extended
    kind: str = "noop"
    concurrency: int = 100
    child_a_core: bool = False  # of all its workers together, instead of `concurrency`
    pool: str = ""
    tuned: bool = False  # the settings that its documentation recommends for such jobs
    judged: bool = False
    alone: bool = False  # a job has its process alone, or its worker does one job at a time

    def command(self, role: str, *arguments: object) -> list[str]:
        python = str(PEERS_PYTHON) if self.peers else sys.executable
        return [python, "-m", f"bench.peers.{self.module}", role, *map(str, arguments)]

    def worker_command(self, kind: str, *, workers: int = 1) -> list[str]:
        if self.part:
            return [sys.executable, "-m", "bench.jobs.extended", self.part]
        concurrency = max(1, CORES // workers) if self.child_a_core else self.concurrency
        pool = ["--pool", self.pool] if self.pool else []
        tuned = ["--tuned"] if self.tuned else []
        return self.command("worker", "--concurrency", concurrency, "--kind", kind, *pool, *tuned)
