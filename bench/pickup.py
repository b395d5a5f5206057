"""Goal 1: how long an idle worker takes to begin a job, from the client's call to the job's first line."""

from bench.contenders import EVERYBODY, OURS_LLM, OURS_SYNC, RQ, Contender, Trial
from bench.lab import Lab, NotMeasuredError, lab, percentile
from bench.peers.runner import WARM_UP
from bench.result import Effort, Finding, Result, alternating, not_measured

MILLISECONDS = 1000
P50, P99, TIMES_ARQ = 5, 15, 40
JOBS = 60


def measure(effort: Effort) -> Result:
    latencies: dict[str, list[float]] = {}
    failures: dict[str, str] = {}
    with lab(effort.folder / "pickup") as made:
        for turn, contender in alternating(list(EVERYBODY), effort.repeats):
            try:
                values = pick_up(made, contender, effort.size(JOBS), turn=turn)
            except NotMeasuredError as error:
                failures[contender.name] = str(error)
                effort.say(f"  {contender.name}: not measured: {error}")
                continue
            latencies.setdefault(contender.name, []).extend(values)
            effort.say(f"  {contender.name}: {show(values)}")
    return Result(findings(latencies), {"milliseconds": latencies, "failures": failures})


def pick_up(made: Lab, contender: Contender, jobs: int, *, turn: int) -> list[float]:
    """Give the latencies in ms, without those of the first jobs."""
    made.flush()
    trial = Trial(made, contender, f"{contender.name}-{turn}")
    (worker,) = trial.workers(1)
    trial.open()
    trial.run("trickle", jobs=jobs)
    worker.end()
    entries = trial.entries()
    if len(entries) != jobs + WARM_UP:
        raise NotMeasuredError(f"{len(entries)} runs of {jobs + WARM_UP} jobs")
    return [entry.latency * MILLISECONDS for entry in entries[WARM_UP:]]


def show(values: list[float]) -> str:
    return f"p50 {percentile(values, 50):.1f} ms, p99 {percentile(values, 99):.1f} ms"


def findings(latencies: dict[str, list[float]]) -> list[Finding]:
    found = []
    ours, arq = latencies.get(OURS_LLM.name), latencies.get("arq")
    if ours:
        p50, p99 = percentile(ours, 50), percentile(ours, 99)
        found.append(Finding("1 pick-up", f"p50 ≤ {P50} ms", f"{p50:.1f} ms", met=p50 <= P50))
        found.append(Finding("1 pick-up", f"p99 ≤ {P99} ms", f"{p99:.1f} ms", met=p99 <= P99))
    else:
        found.append(not_measured("1 pick-up", f"p50 ≤ {P50} ms, p99 ≤ {P99} ms", "see results.json"))
    if ours and arq:
        ratio = percentile(arq, 50) / percentile(ours, 50)
        peer = f"arq {show(arq)}"
        wanted = f"p50 ≥ {TIMES_ARQ}× better than arq"
        found.append(Finding("1 pick-up", wanted, show(ours), peer, f"{ratio:.0f}×", ratio >= TIMES_ARQ))
    sync, rq = latencies.get(OURS_SYNC.name), latencies.get(RQ.name)
    if sync and rq:
        ratio = percentile(rq, 50) / percentile(sync, 50)
        wanted = "sync pool: p50 ≤ stock RQ"
        found.append(Finding("7 pick-up", wanted, show(sync), f"RQ {show(rq)}", f"{ratio:.1f}×", ratio >= 1))
    known = {OURS_LLM.name, OURS_SYNC.name, "arq", RQ.name}
    found += [Finding("1 pick-up, others", "", show(latencies[name]), name) for name in latencies if name not in known]
    return found
