"""How soon one tenant's jobs, one a second, are picked up while another tenant has 100,000 waiting.

Beside the same on an idle platform, and beside arq, whose queue is first in, first out.
"""

import random
import time

from bench.clients.endpoints import Endpoint, start_gateway
from bench.clients.tenants import Order, hand_over
from bench.contenders.everybody import ARQ, OURS_LLM
from bench.contenders.trial import Trial
from bench.jobs.tally import Entry
from bench.jobs.tasks.specs import LLM_NOOP, Sent
from bench.lab.lab import Lab, lab
from bench.lab.processes import NotMeasuredError, until
from bench.peers.runner import WARM_UP
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import Latencies

WAITING, SECONDS = 100_000, 0.2  # jobs of the one tenant, and how long each takes: half as long to half as long again
JOBS, EVERY = 100, 1.0  # of the other one; seconds
TIMES = 3
ARQ_JOBS, ARQ_WATCH = 20, 10.0  # seconds
MILLISECONDS = 1000
NOOP = "/v1/llm_noop"
BUSY_TENANT = "busy"


def measure(effort: Effort) -> Result:
    jobs, waiting = effort.size(JOBS), effort.size(WAITING)
    with lab(effort.folder / "fairness") as made:
        gateway = start_gateway(made, extended=True)
        idle = Latencies([_turn(made, gateway, "idle", jobs=jobs)])
        effort.say(f"  idle: {idle.show()}")
        hand_over(made, (_flood() for _ in range(waiting)))
        busy = Latencies([_turn(made, gateway, "busy", jobs=jobs, waiting=waiting)])
        effort.say(f"  {waiting:,} of another tenant waiting: {busy.show()}")
    with lab(effort.folder / "fairness-arq") as made:
        arq = _arq(made, waiting, max(1.0, ARQ_WATCH * effort.scale))
        effort.say(f"  arq: {arq}")
    ratio = busy.at(99) / idle.at(99)
    goal = f"fairness: a job a second, {waiting:,} of another tenant waiting"
    shown = f"{busy.show()}; idle {idle.show()}"
    row = Finding(
        goal,
        f"p99 of pick-up ≤ {TIMES} × idle's",
        shown,
        f"arq: {arq}",
        f"{ratio:.2f}× idle",
        ratio <= TIMES,
        headline=f"pick-up of a tenant's job, {waiting:,} of another one waiting",
    )
    return Result([row], {"milliseconds": {"idle": idle.all, "busy": busy.all}, "arq": arq})


def _flood() -> Order:
    seconds = SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
    return Order(spec=LLM_NOOP, payload=Sent(seconds=seconds), tenant=BUSY_TENANT)


def _turn(made: Lab, gateway: Endpoint, name: str, *, jobs: int, waiting: int = 0) -> list[float]:
    """Submit about one job a second; gives the ms from each request to the job's first line.

    Raises:
        NotMeasuredError: nothing of the other tenant's `waiting` jobs is left at the end.

    """
    trial = Trial(made, OURS_LLM, f"fairness-{name}")
    (worker,) = trial.workers(1)
    trial.open()
    with gateway.connected() as connection:
        for number in range(jobs + WARM_UP):
            connection.post(NOOP, {"sent": time.time()})
            if number < WARM_UP:
                until(lambda number=number: len(_theirs(trial)) > number, what="the worker's start")  # type: ignore[misc]
            time.sleep(EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
    until(lambda: len(_theirs(trial)) == jobs + WARM_UP, what="the start of all jobs", every=0.2)
    worker.end()
    theirs = _theirs(trial)
    if waiting and trial.count() - len(theirs) >= waiting:
        raise NotMeasuredError("nothing of the other tenant was waiting any more")
    return [entry.latency * MILLISECONDS for entry in theirs[WARM_UP:]]


def _theirs(trial: Trial) -> list[Entry]:
    """Give what has begun of the tenant that submits now and then."""
    return sorted((entry for entry in trial.entries() if entry.sent), key=lambda entry: entry.sent)


def _arq(made: Lab, waiting: int, seconds: float) -> str:
    """Say what becomes of jobs that are handed to stock arq behind as many others."""
    trial = Trial(made, ARQ, "fairness-arq")
    trial.run("fill", jobs=waiting, kind="wait", seconds=SECONDS, patience=300)
    trial.workers(1)
    trial.open()
    until(lambda: trial.count() > 0, what="arq's first job")
    trial.run("trickle", jobs=ARQ_JOBS)
    time.sleep(seconds)
    entries = trial.entries()
    begun, handed = sum(1 for entry in entries if entry.sent), ARQ_JOBS + WARM_UP
    rate = len(entries) / (entries[-1].began - entries[0].began)
    due = f", due after {waiting / rate / 60:.1f} min at its {rate:,.0f} jobs/s" if not begun else ""
    return f"{begun or 'none'} of {handed} begun within {seconds:g} s{due}"
