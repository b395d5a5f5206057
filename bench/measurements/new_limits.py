"""How soon limits that are raised and lowered under load are in force, by the provider's own log.

Workers read their limits at start. So a new limit comes as it does for an operator: another TANDEM_CONFIG, and each
worker replaced by one that has it, one after the other. Time counts from the first new worker's first claim.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.clients.tenants import chat, hand_over
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import Running, until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.provider.stub import Served
from bench.report.arrivals import at_once, number, settled
from bench.report.result import Effort, Finding, Result

RPM = (600, 1800, 600)  # requests a minute, one after the other
SLOTS = (10, 30, 10)  # requests at once
STEPS = ("", "raised", "lowered")
DELAY, PROCESSES = 0.5, 2
STEP, WINDOW = 12.0, 2.0  # seconds that each lasts, and that a rate is looked at
OFF = 0.15  # of the rate that a window may be off
SLOTS_WINDOW, FULL = 0.5, 0.9  # seconds; share of the slots that is reached in each of them
WITHIN = 2.0
RATED, SLOTTED = 1, 2  # marks
CLAIMS = "jobs at once"  # what a worker says when it begins to claim


@dataclass
class Fleet:
    """The workers and their limits."""

    made: Lab
    stub: Provider
    workers: list[Running] = field(default_factory=list)
    generation: int = 0

    def replace(self, rpm: int, slots: int) -> float:
        """Replace each worker by one with these limits; gives when the first of them began to claim."""
        self.generation += 1
        config = self.stub.config(rated={"rpm": rpm}, slotted={"concurrency": slots})
        trials = [Trial(self.made, OURS_LLM, f"limits-{self.generation}-{place}") for place in range(PROCESSES)]
        fresh = [trial.workers(1, TANDEM_LOG_LEVEL="info", **config)[0] for trial in trials]
        old, self.workers, began = self.workers, fresh, 0.0
        for place, (trial, worker) in enumerate(zip(trials, fresh, strict=True)):
            trial.open()
            worker.until_says(CLAIMS)
            began = began or time.time()
            if old:
                old[place].popen.terminate()
        return began


def measure(effort: Effort) -> Result:
    seconds = max(8.0, STEP * effort.scale)
    with lab(effort.folder / "new-limits") as made:
        begins, log = _steps(made, seconds)
    result = Result()
    for step in (1, 2):
        began, end = begins[step], begins[step] + seconds
        for unit, limits, holds in (
            ("RPM", RPM, _rate_holds(log, RPM[step])),
            ("at once", SLOTS, _slots_hold(log, SLOTS[step])),
        ):
            window = WINDOW if unit == "RPM" else SLOTS_WINDOW
            since = settled(holds, began, end - window)
            result.findings.append(_finding(f"{limits[step - 1]:,} to {limits[step]:,} {unit}", step, since, began))
            effort.say(f"  {result.findings[-1].goal}: {result.findings[-1].measured}")
    first = begins[0]
    result.data = {"begins": [moment - first for moment in begins]} | {
        str(mark): [round(one.came - first, 3) for one in log if one.mark == mark] for mark in (RATED, SLOTTED)
    }
    return result


def _steps(made: Lab, seconds: float) -> tuple[list[float], list[Served]]:
    """Run under the limits one after the other; gives when each began, and the provider's log."""
    stub = provider.start(made, delay=DELAY, name="new-limits")
    fleet, begins = Fleet(made, stub), []
    lasts = 2 * len(RPM) * seconds
    hand_over(made, (chat(RATED, model="rated") for _ in range(round(max(RPM) / 60 * lasts))))
    hand_over(made, (chat(SLOTTED, model="slotted") for _ in range(round(max(SLOTS) / DELAY * lasts))))
    for rpm, slots in zip(RPM, SLOTS, strict=True):
        begins.append(fleet.replace(rpm, slots))
        until(lambda: stub.count() > 0, what="the first call")
        time.sleep(seconds + DELAY + 1)
    return begins, stub.served()


def _rate_holds(log: list[Served], rpm: int) -> Callable[[float], bool]:
    came, due = [one.came for one in log if one.mark == RATED], rpm / 60 * WINDOW
    return lambda moment: abs(number(came, moment, moment + WINDOW) - due) <= OFF * due


def _slots_hold(log: list[Served], slots: int) -> Callable[[float], bool]:
    spans = [(one.came, one.answered) for one in log if one.mark == SLOTTED]

    def holds(moment: float) -> bool:
        return FULL * slots <= at_once(spans, moment, moment + SLOTS_WINDOW) <= slots

    return holds


def _finding(what: str, step: int, since: float | None, began: float) -> Finding:
    measured = f"{since - began:.1f} s" if since is not None else "not while it was looked at"
    goal = f"limit {STEPS[step]} under load, {what}, by new settings and a rolling restart of {PROCESSES} workers"
    met = since is not None and since - began <= WITHIN
    headline = f"limit {STEPS[step]} under load, {what}: in force" if "RPM" in what else ""
    return Finding(goal, f"in force ≤ {WITHIN:g} s after the first new claim", measured, met=met, headline=headline)
