"""One contender in one lab: a tally, a gate, workers."""

from dataclasses import dataclass

from bench.contenders.contender import Contender
from bench.jobs import tally
from bench.jobs.tally import Entry
from bench.lab.lab import Lab
from bench.lab.processes import Running


@dataclass
class Trial:
    lab: Lab
    contender: Contender
    number: str

    def __post_init__(self) -> None:
        self.path = self.lab.folder / f"{self.number}.tally"
        self.gate = self.lab.folder / f"{self.number}.gate"
        self.env = {tally.VARIABLE: str(self.path), tally.GATE: str(self.gate), "TANDEM_LLM_CONCURRENCY": "100"}

    def workers(self, number: int, *, kind: str = "noop", **env: str) -> list[Running]:
        """Start workers that have imported everything and stop at the gate."""
        command = self.contender.worker_command(kind, workers=number)
        name = f"{self.contender.name} worker"
        started = [self.lab.start(command, name=name, env=self.env | env) for _ in range(number)]
        for worker in started:
            worker.until_says(tally.AT_THE_GATE, patience=90)
        return started

    def open(self) -> None:
        self.gate.touch()

    def run(
        self,
        role: str,
        *,
        jobs: int,
        kind: str = "",
        seconds: float = 0.0,
        padding: int = 0,
        patience: float = 120.0,
    ) -> str:
        """Let the client of this engine hand jobs over; gives what it printed."""
        arguments = ["--jobs", jobs, "--kind", kind or self.contender.kind, "--seconds", seconds]
        command = self.contender.command(role, *arguments, "--padding", padding)
        return self.lab.start(command, name=f"{self.contender.name} {role}", env=self.env).wait(patience=patience)

    def entries(self) -> list[Entry]:
        return tally.read(self.path)

    def count(self) -> int:
        return tally.count(self.path)
