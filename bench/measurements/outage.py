"""What is lost, and how soon the full rate is back, when the provider's process is killed under load and comes back."""

import time
from collections import Counter

from bench.clients.tenants import chat, hand_over, statuses
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import interrupt, until
from bench.provider import process as provider
from bench.provider.stub import Served
from bench.report.arrivals import first, number
from bench.report.result import Effort, Finding, Result

RPM, DELAY, PROCESSES = 1200, 0.5, 2
BEFORE, AWAY, AFTER = 8.0, 20.0, 16.0  # seconds
RATE, WINDOW, FULL = RPM / 60, 2.0, 0.95  # a second; seconds; share of the rate
WITHIN = 10.0
ENDED = frozenset({"succeeded", "failed", "cancelled", "expired"})


def measure(effort: Effort) -> Result:
    away = max(5.0, AWAY * effort.scale)
    jobs = round(RATE * (BEFORE + AFTER))
    with lab(effort.folder / "outage") as made:
        found, log, back = _outage(made, away, jobs)
    came = [one.came for one in log if one.status == 200]
    latest = max(came) - WINDOW
    full = first(lambda moment: number(came, moment, moment + WINDOW) >= FULL * RATE * WINDOW, back, latest)
    said = ", ".join(f"{count:,} {status}" for status, count in found.most_common())
    twice = len(log) - len({one.mark for one in log})
    soon = f"{full - back:.1f} s" if full is not None else f"not within {latest - back:.0f} s"
    effort.say(f"  {said} of {jobs:,}, {twice} asked twice; full rate after {soon}")
    goal = f"outage of the provider, {away:g} s, {RPM:,} RPM over {PROCESSES} processes"
    return Result(
        [
            Finding(goal, f"all {jobs:,} jobs succeed", said, met=found["succeeded"] == jobs, headline=goal),
            Finding(
                f"{goal}: full rate again",
                f"≤ {WITHIN:g} s after its return",
                soon,
                met=full is not None and full - back <= WITHIN,
                headline="full rate after the provider's return",
            ),
        ],
        {"statuses": found, "asked_twice": twice, "seconds": full and full - back},
    )


def _outage(made: Lab, away: float, jobs: int) -> tuple[Counter[str], list[Served], float]:
    """Give what became of the jobs, the provider's log, and when it was back."""
    stub = provider.start(made, delay=DELAY, name="outage")
    trial = Trial(made, OURS_LLM, "outage")
    trial.workers(PROCESSES, **stub.config(**{"under-way": {"rpm": RPM}}))
    ids = hand_over(made, (chat(mark, model="under-way") for mark in range(1, jobs + 1)))
    trial.open()
    until(lambda: stub.count() > 0, what="the first call")
    time.sleep(BEFORE)
    interrupt(stub.process)
    time.sleep(away)
    provider.start(made, delay=DELAY, name="outage", port=stub.port)
    back = time.time()
    until(lambda: set(statuses(made, ids)) <= ENDED, what="the end of all jobs", patience=120, every=0.5)
    return Counter(statuses(made, ids)), stub.served(), back
