"""Goal 1: how long an idle worker takes to begin a job, from the client's call to the job's first line."""

from bench.contenders.contender import Contender
from bench.contenders.everybody import EVERYBODY, LLM_PEERS, OURS_LLM, OURS_SYNC, RQ, by_name
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import NotMeasuredError
from bench.peers.runner import WARM_UP
from bench.report.result import Effort, Finding, Result, beside, not_measured
from bench.report.statistics import Latencies, alternating

MILLISECONDS = 1000
P50, P99, TIMES_ARQ = 5, 15, 40
TIMES_BEST, TIMES_RQ = 1.2, 0.5
JOBS = 45
GOAL = "1 pick-up"


def measure(effort: Effort) -> Result:
    turns: dict[str, list[list[float]]] = {}
    failures: dict[str, str] = {}
    with lab(effort.folder / "pickup") as made:
        for turn, contender in alternating(list(EVERYBODY), effort.repeats):
            if turn and not contender.judged:
                continue
            try:
                values = pick_up(made, contender, effort.size(JOBS), turn=turn)
            except NotMeasuredError as error:
                failures[contender.name] = str(error)
                effort.say(f"  {contender.name}: not measured: {error}")
                continue
            turns.setdefault(contender.name, []).append(values)
            effort.say(f"  {contender.name}: {Latencies([values]).show()}")
    found = {name: Latencies(values) for name, values in turns.items()}
    data = {"milliseconds": {name: latencies.all for name, latencies in found.items()}, "failures": failures}
    return Result(findings(found), data)


def pick_up(made: Lab, contender: Contender, jobs: int, *, turn: int, padding: int = 0) -> list[float]:
    """Give the latencies in ms, without those of the first jobs."""
    made.flush()
    trial = Trial(made, contender, f"{contender.name}-{padding}-{turn}")
    (worker,) = trial.workers(1)
    trial.open()
    trial.run("trickle", jobs=jobs, padding=padding)
    worker.end()
    entries = trial.entries()
    if len(entries) != jobs + WARM_UP:
        raise NotMeasuredError(f"{len(entries)} runs of {jobs + WARM_UP} jobs")
    return [entry.latency * MILLISECONDS for entry in entries[WARM_UP:]]


def findings(found: dict[str, Latencies]) -> list[Finding]:
    return [*_llm(found), *_sync(found), *_others(found)]


def _llm(found: dict[str, Latencies]) -> list[Finding]:
    ours = found.get(OURS_LLM.name)
    if not ours:
        return [not_measured(GOAL, f"p50 ≤ {P50} ms, p99 ≤ {P99} ms", "see results.json")]
    rows = [
        Finding(GOAL, f"p50 ≤ {P50} ms", ours.show(50), met=ours.at(50) <= P50, runs=ours.runs),
        Finding(GOAL, f"p99 ≤ {P99} ms", ours.show(99), met=ours.at(99) <= P99, runs=ours.runs),
    ]
    if arq := found.get("arq"):
        headline = "LLM job picked up by an idle worker"
        wanted = f"p50 ≥ {TIMES_ARQ}× better than arq"
        rows.append(_beside(ours, arq, "arq", wanted=wanted, least=TIMES_ARQ, headline=headline))
    peers = [peer.name for peer in LLM_PEERS if peer.name in found]
    if best := min(peers, key=lambda name: found[name].at(50), default=""):
        headline = "the same, best Python peer"
        wanted = f"p50 ≤ {TIMES_BEST}× the best Python peer's"
        rows.append(_beside(ours, found[best], best, wanted=wanted, least=1 / TIMES_BEST, headline=headline))
    return rows


def _sync(found: dict[str, Latencies]) -> list[Finding]:
    ours, rq = found.get(OURS_SYNC.name), found.get(RQ.name)
    if not (ours and rq):
        return []
    headline = "sync job picked up by an idle worker"
    wanted = f"sync pool: p50 ≤ {TIMES_RQ:g}× stock RQ's"
    return [_beside(ours, rq, RQ.name, wanted=wanted, least=1 / TIMES_RQ, headline=headline)]


def _beside(
    ours: Latencies,
    theirs: Latencies,
    name: str,
    *,
    wanted: str = "",
    least: float | None = None,
    headline: str = "",
) -> Finding:
    return beside(
        GOAL,
        name,
        theirs.at(50) / ours.at(50),
        ours=ours.show(),
        theirs=theirs.show(),
        runs=ours.runs,
        peer_runs=theirs.runs,
        wanted=wanted,
        least=least,
        headline=headline,
    )


def _others(found: dict[str, Latencies]) -> list[Finding]:
    """Everybody without a goal, beside the pool that does the same."""
    rows = []
    for name, theirs in found.items():
        if name in {OURS_LLM.name, OURS_SYNC.name, "arq", RQ.name}:
            continue
        ours = found.get(OURS_SYNC.name if by_name(name).alone else OURS_LLM.name)
        if ours:
            rows.append(_beside(ours, theirs, name))
    return rows
