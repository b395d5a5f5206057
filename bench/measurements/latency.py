"""From a POST to its result, on an idle platform: beside FastAPI, with arq and with RQ, that waits for the job."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.clients.endpoints import Endpoint, start_bare, start_gateway
from bench.clients.probe import probe
from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, ARQ_TUNED, OURS_LLM, OURS_SYNC, RQ
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Latencies, alternating

REQUESTS = 30
GOAL = "from POST to result"


@dataclass(frozen=True)
class Way:
    """An endpoint that answers with a job's result, and the worker behind it."""

    name: str
    worker: Contender
    path: str
    start: Callable[[Lab], Endpoint]
    repeated: bool = True


WAYS = (
    Way("Tandem LLM pool", OURS_LLM, "/v1/llm_noop", lambda made: start_gateway(made, extended=True)),
    Way("FastAPI + arq", ARQ, "/arq", start_bare, repeated=False),
    Way("FastAPI + arq, both polling each 10 ms", ARQ_TUNED, "/arq", lambda made: start_bare(made, BENCH_POLL="0.01")),
    Way("Tandem sync pool", OURS_SYNC, "/v1/sync_noop", lambda made: start_gateway(made, extended=True)),
    Way("FastAPI + RQ", RQ, "/rq", start_bare),
)
PAIRS = ((WAYS[0], WAYS[1]), (WAYS[0], WAYS[2]), (WAYS[3], WAYS[4]))


def measure(effort: Effort) -> Result:
    turns: dict[str, list[list[float]]] = {way.name: [] for way in WAYS}
    with lab(effort.folder / "latency") as made:
        for turn, way in alternating(list(WAYS), effort.repeats):
            if turn and not way.repeated:
                continue
            values = _turn(made, way, effort.size(REQUESTS), turn=turn)
            turns[way.name].append(values)
            effort.say(f"  {way.name}: {Latencies([values]).show()}")
    found = {name: Latencies(values) for name, values in turns.items()}
    rows = [_row(found, ours.name, peer.name) for ours, peer in PAIRS]
    return Result(rows, {"milliseconds": {name: latencies.all for name, latencies in found.items()}})


def _turn(made: Lab, way: Way, requests: int, *, turn: int) -> list[float]:
    made.flush()
    trial = Trial(made, way.worker, f"{way.worker.name}-{turn}")
    (worker,) = trial.workers(1)
    endpoint = way.start(made)
    trial.open()
    latencies = probe(endpoint, way.path, requests=requests)
    endpoint.process.end()
    worker.end()
    return latencies


def _row(found: dict[str, Latencies], ours: str, peer: str) -> Finding:
    mine, theirs = found[ours], found[peer]
    pool = ours.removeprefix("Tandem ")
    return beside(
        f"{GOAL}, {pool}",
        peer,
        theirs.at(50) / mine.at(50),
        ours=mine.show(),
        theirs=theirs.show(),
        runs=mine.runs,
        peer_runs=theirs.runs,
        headline=f"{GOAL}, {pool}",
    )
