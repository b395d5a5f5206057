"""Goal 2: no-op jobs a second, with one worker and with four, everything waiting when they start.

Everybody who is compared has the same number of jobs waiting. A turn lasts from the first job's start to the last
acknowledged end; whoever needs longer than `LONGEST` for all of them is judged by what is acknowledged until then.
"""

from bench.contenders import acknowledged
from bench.contenders.contender import Contender
from bench.contenders.everybody import ASYNCIO, FORKING, LLM_PEERS, OURS_LLM, OURS_SYNC, SYNC_PEERS, by_name
from bench.contenders.trial import Trial
from bench.lab.lab import lab
from bench.lab.pantry import Pantry
from bench.lab.processes import NotMeasuredError
from bench.report.result import Effort, Finding, Result, beside, not_measured
from bench.report.statistics import Spread, alternating

MANY = 4
JOBS = {False: 50_000, True: 6_000}  # of the asyncio engines; of those that run one job at a time
LONGEST = 5.5  # seconds
FACTORS = {1: 2, MANY: 4}  # times stock arq
Rates = dict[str, Spread]


def measure(effort: Effort) -> Result:
    rates: dict[int, dict[str, list[float]]] = {1: {}, MANY: {}}
    failures: dict[str, str] = {}
    least = 1000
    with lab(effort.folder / "drain") as made:
        pantry = Pantry(made, {alone: effort.size(jobs, least=least) for alone, jobs in JOBS.items()})
        longest = max(1.5, LONGEST * effort.scale)
        for turn, contender in alternating([*ASYNCIO, *FORKING], effort.repeats):
            if turn and not contender.judged:
                continue
            for workers, found in rates.items():
                key = f"{contender.name}, {workers} worker{'s' * (workers > 1)}"
                try:
                    rate = drain(pantry, contender, workers, longest=longest, turn=turn)
                except NotMeasuredError as error:
                    failures[key] = str(error)
                    effort.say(f"  {key}: not measured: {error}")
                    continue
                found.setdefault(contender.name, []).append(rate)
                effort.say(f"  {key}: {rate:,.0f} jobs/s")
    spreads = {workers: {name: Spread(values) for name, values in found.items()} for workers, found in rates.items()}
    data = {"one": rates[1], "four": rates[MANY], "failures": failures, "jobs": list(JOBS.values())}
    return Result([*_goals(spreads), *_others(spreads)], data)


def drain(pantry: Pantry, contender: Contender, workers: int, *, longest: float, turn: int) -> float:
    """Give acknowledged jobs a second, from the first job's first line on."""
    jobs = pantry.fill(contender)
    trial = Trial(pantry.lab, contender, f"{contender.name}-{workers}-{turn}")
    running = trial.workers(workers)
    return acknowledged.rate(trial, running, jobs=jobs, longest=longest)


def _goals(rates: dict[int, Rates]) -> list[Finding]:
    ours, found = OURS_LLM.name, []
    for workers, factor in FACTORS.items():
        goal, wanted, here = _goal(workers), f"≥ {factor}× stock arq", rates[workers]
        if ours not in here or "arq" not in here:
            found.append(not_measured(goal, wanted, "see the failures in results.json"))
            continue
        headline = f"no-op jobs, {_workers(workers)}"
        found.append(_beside(here, "arq", workers, wanted=wanted, least=factor, headline=headline))
    many = rates[MANY]
    if ours in many and (best := _best(many)):
        headline = f"no-op jobs, {_workers(MANY)}, best Python peer"
        found.append(_beside(many, best, MANY, wanted="≥ 2× the best Python peer", least=2, headline=headline))
    if ours in rates[1] and ours in many:
        ratio = many[ours].median / rates[1][ours].median
        runs = many[ours].runs
        found.append(Finding("2 drain", "4 workers ≥ 0.9 × 1 worker", f"{ratio:.2f}×", met=ratio >= 0.9, runs=runs))
    for workers, factor in {1: 3, MANY: 2}.items():
        here = rates[workers]
        if OURS_SYNC.name in here and "RQ fork" in here:
            wanted = f"≥ {factor}× RQ's fork"
            headline = f"no-op jobs, a process each, {_workers(workers)}"
            found.append(_beside(here, "RQ fork", workers, wanted=wanted, least=factor, headline=headline))
    return found


def _beside(
    rates: Rates,
    peer: str,
    workers: int,
    *,
    wanted: str = "",
    least: float | None = None,
    headline: str = "",
) -> Finding:
    mine, theirs = rates[_ours(peer)], rates[peer]
    return beside(
        _goal(workers),
        peer,
        mine.median / theirs.median,
        ours=mine.show("jobs/s"),
        theirs=theirs.show(),
        runs=mine.runs,
        peer_runs=theirs.runs,
        wanted=wanted,
        least=least,
        headline=headline,
    )


def _ours(peer: str) -> str:
    """Say which pool does what this peer does: who runs one job at a time is compared with the sync pool."""
    return OURS_SYNC.name if by_name(peer).alone else OURS_LLM.name


def _best(rates: Rates) -> str:
    peers = [peer.name for peer in LLM_PEERS if peer.name in rates]
    return max(peers, key=lambda name: rates[name].median, default="")


def _others(rates: dict[int, Rates]) -> list[Finding]:
    """Everybody without a goal of their own."""
    found = []
    for peer in (*LLM_PEERS, *SYNC_PEERS):
        for workers, here in rates.items():
            if peer.name not in here or _ours(peer.name) not in here:
                found.append(not_measured(_goal(workers), peer.name, "see the failures in results.json"))
            elif peer.name not in {"arq", "RQ fork"}:
                found.append(_beside(here, peer.name, workers))
    return found


def _goal(workers: int) -> str:
    return f"2 drain, {_workers(workers)}"


def _workers(number: int) -> str:
    return f"{number} worker{'s' * (number > 1)}"
