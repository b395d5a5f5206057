"""Jobs with 64 KB of text each: how many a second, and how soon an idle worker begins one."""

from bench.contenders import acknowledged
from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, OURS_LLM, OURS_SYNC, RQ, TASKIQ
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.measurements.pickup import pick_up
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Latencies, Spread

BYTES = 64 * 1024
JOBS = {False: 2000, True: 300}  # by `alone`: those who are compared have as many
PICK_UPS = 30
LONGEST = 20.0  # seconds
PAIRS = ((OURS_LLM, ARQ), (OURS_LLM, TASKIQ), (OURS_SYNC, RQ))
GOAL = f"jobs with {BYTES // 1024} KB of text"


def measure(effort: Effort) -> Result:
    rates, latencies = {}, {}
    with lab(effort.folder / "payloads") as made:
        for contender in (OURS_LLM, ARQ, TASKIQ, OURS_SYNC, RQ):
            rates[contender.name] = _rate(made, contender, effort.size(JOBS[contender.alone], least=50))
            latencies[contender.name] = pick_up(made, contender, effort.size(PICK_UPS), turn=0, padding=BYTES)
            shown = Latencies([latencies[contender.name]]).show()
            effort.say(f"  {contender.name}: {rates[contender.name]:,.0f} jobs/s, {shown}")
    rows = [row for ours, peer in PAIRS for row in _rows(rates, latencies, ours.name, peer.name)]
    return Result(rows, {"bytes": BYTES, "rates": rates, "milliseconds": latencies})


def _rate(made: Lab, contender: Contender, jobs: int) -> float:
    made.flush()
    trial = Trial(made, contender, f"{contender.name}-payload")
    trial.run("fill", jobs=jobs, padding=BYTES)
    return acknowledged.rate(trial, trial.workers(1), jobs=jobs, longest=LONGEST)


def _rows(rates: dict[str, float], latencies: dict[str, list[float]], ours: str, peer: str) -> list[Finding]:
    mine, theirs = Spread([rates[ours]]), Spread([rates[peer]])
    soon, later = Latencies([latencies[ours]]), Latencies([latencies[peer]])
    pool = ours.removeprefix("Tandem ")
    return [
        beside(
            f"{GOAL}, {pool}, 1 worker",
            peer,
            mine.median / theirs.median,
            ours=mine.show("jobs/s"),
            theirs=theirs.show(),
            runs=1,
        ),
        beside(
            f"{GOAL}, {pool}, pick-up",
            peer,
            later.at(50) / soon.at(50),
            ours=soon.show(),
            theirs=later.show(),
            runs=1,
        ),
    ]
