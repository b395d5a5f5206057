"""Goal 2: no-op jobs a second, with one worker and with four, everything waiting when they start."""

from bench.contenders import EVERYBODY, LLM_PEERS, OURS_LLM, OURS_SYNC, RQ, RQ_SIMPLE, Contender, Trial
from bench.lab import Lab, NotMeasuredError, lab, until
from bench.result import Effort, Finding, Result, Spread, alternating, not_measured

MANY = 4
Rates = dict[str, Spread]


def measure(effort: Effort) -> Result:
    rates: dict[int, dict[str, list[float]]] = {1: {}, MANY: {}}
    failures: dict[str, str] = {}
    with lab(effort.folder / "drain") as made:
        for workers, found in rates.items():
            for turn, contender in alternating(list(EVERYBODY), effort.repeats):
                key = f"{contender.name}, {workers} worker{'s' * (workers > 1)}"
                try:
                    rate = drain(made, contender, workers, effort, turn=turn)
                except NotMeasuredError as error:
                    failures[key] = str(error)
                    effort.say(f"  {key}: not measured: {error}")
                    continue
                found.setdefault(contender.name, []).append(rate)
                effort.say(f"  {key}: {rate:,.0f} jobs/s")
    one, four = ({name: Spread(values) for name, values in rates[workers].items()} for workers in rates)
    data = {"one": rates[1], "four": rates[MANY], "failures": failures}
    return Result([*_llm(one, four), *_all(one, four)], data)


def drain(made: Lab, contender: Contender, workers: int, effort: Effort, *, turn: int) -> float:
    """Give jobs a second from the first job's start to the last one's."""
    made.flush()
    jobs = effort.size(contender.jobs, least=50)
    trial = Trial(made, contender, f"{contender.name}-{workers}-{turn}")
    trial.run("fill", jobs=jobs)
    running = trial.workers(workers)
    trial.open()
    until(lambda: trial.count() >= jobs, what=f"draining {jobs} jobs", every=0.02)
    for worker in running:
        worker.end()
    entries = trial.entries()
    if len(entries) != jobs:
        raise NotMeasuredError(f"{len(entries)} runs of {jobs} jobs")
    return (jobs - 1) / (entries[-1].began - entries[0].began)


def _llm(one: Rates, four: Rates) -> list[Finding]:
    ours, arq = OURS_LLM.name, "arq"
    found = []
    for rates, goal, factor in ((one, "2 drain, 1 worker", 2), (four, f"2 drain, {MANY} workers", 4)):
        wanted = f"≥ {factor}× stock arq"
        if ours not in rates or arq not in rates:
            found.append(not_measured(goal, wanted, "see the failures in results.json"))
            continue
        ratio = rates[ours].median / rates[arq].median
        peer = f"arq {rates[arq].show()}"
        found.append(Finding(goal, wanted, rates[ours].show("jobs/s"), peer, f"{ratio:.1f}×", ratio >= factor))
    peers = {peer.name: four[peer.name] for peer in LLM_PEERS if peer.name in four}
    if ours in four and peers:
        best = max(peers, key=lambda name: peers[name].median)
        ratio = four[ours].median / peers[best].median
        wanted = "ahead of every Python peer"
        found.append(
            Finding(
                f"2 drain, {MANY} workers",
                wanted,
                four[ours].show("jobs/s"),
                f"{best} {peers[best].show()}",
                f"{ratio:.2f}×",
                ratio > 1,
            )
        )
    if ours in one and ours in four:
        ratio = four[ours].median / one[ours].median
        found.append(Finding("2 drain", "4 workers ≥ 0.9 × 1 worker", f"{ratio:.2f}×", met=ratio >= 0.9))
    return found


def _all(one: Rates, four: Rates) -> list[Finding]:
    """Everybody's rates; the pools with a fork per job are compared with each other only."""
    found = []
    for contender in (*LLM_PEERS, OURS_SYNC, RQ, RQ_SIMPLE):
        rates = [rates[contender.name].show() if contender.name in rates else "–" for rates in (one, four)]
        measured = f"{rates[0]} | {rates[1]} jobs/s"
        found.append(Finding("2 drain, others", "(1 worker | 4 workers)", measured, contender.name))
    return found
