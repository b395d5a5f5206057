"""Each pool's latency from POST to result while both are loaded, beside the same pool loaded alone."""

import json
from concurrent.futures import ThreadPoolExecutor

from bench.clients.endpoints import Endpoint, start_gateway
from bench.clients.probe import probe
from bench.contenders.contender import Contender
from bench.contenders.everybody import OURS_LLM, OURS_SYNC
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Latencies, alternating

SECONDS, REQUESTS = 4.0, 40
LOADS: dict[Contender, tuple[str, float]] = {  # endpoint, submissions a second: about a tenth of what a worker can do
    OURS_LLM: ("/v1/llm_noop", 300.0),
    OURS_SYNC: ("/v1/sync_noop", 10.0),
}
PHASES = {"LLM pool alone": (OURS_LLM,), "sync pool alone": (OURS_SYNC,), "both": (OURS_LLM, OURS_SYNC)}
Turns = dict[str, dict[str, list[list[float]]]]  # by phase and pool
BODY = json.dumps({"sent": 0})


def measure(effort: Effort) -> Result:
    turns: Turns = {phase: {pool.name: [] for pool in pools} for phase, pools in PHASES.items()}
    with lab(effort.folder / "mixed") as made:
        for turn, phase in alternating(list(PHASES), effort.repeats):
            for name, values in _turn(made, PHASES[phase], effort, number=f"{phase}-{turn}").items():
                turns[phase][name].append(values)
                effort.say(f"  {phase}, {name}: {Latencies([values]).show()}")
    rows = [_row(turns, phase, pools[0]) for phase, pools in PHASES.items() if len(pools) == 1]
    return Result(rows, {"milliseconds": turns})


def _turn(made: Lab, pools: tuple[Contender, ...], effort: Effort, *, number: str) -> dict[str, list[float]]:
    """Load and probe these pools at the same time."""
    made.flush()
    trials = [Trial(made, pool, f"{pool.name}-{number}") for pool in LOADS]
    processes = [worker for trial in trials for worker in trial.workers(1)]  # both pools' workers are there in any case
    gateway = start_gateway(made, extended=True)
    for trial in trials:
        trial.open()
    seconds = max(1.5, SECONDS * effort.scale)
    with ThreadPoolExecutor(2 * len(pools)) as threads:
        loads = [threads.submit(_load, gateway, pool, seconds) for pool in pools]
        probes = {pool.name: threads.submit(_probe, gateway, pool, effort.size(REQUESTS)) for pool in pools}
        found = {name: latencies.result() for name, latencies in probes.items()}
        for load in loads:
            load.result()
    for process in [*processes, gateway.process]:
        process.end()
    return found


def _load(gateway: Endpoint, pool: Contender, seconds: float) -> None:
    path, rate = LOADS[pool]
    gateway.load(seconds, rate=rate, path=path, body=BODY)


def _probe(gateway: Endpoint, pool: Contender, requests: int) -> list[float]:
    return probe(gateway, LOADS[pool][0], requests=requests)


def _row(turns: Turns, alone: str, pool: Contender) -> Finding:
    both, single = Latencies(turns["both"][pool.name]), Latencies(turns[alone][pool.name])
    loads = ", ".join(f"{rate:.0f} {path.removeprefix('/v1/')}/s" for path, rate in LOADS.values())
    return beside(
        f"mixed load ({loads}), {pool.name.removeprefix('Tandem ')}",
        "alone",
        single.at(50) / both.at(50),
        ours=both.show(),
        theirs=single.show(),
        runs=both.runs,
    )
