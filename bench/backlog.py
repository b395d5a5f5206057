"""Goal 3: what a long queue costs, and what an idle worker sends while others are busy."""

import time

from bench.contenders import ARQ, OURS_LLM, Contender, Trial
from bench.counting import counting
from bench.lab import Lab, NotMeasuredError, lab, until
from bench.result import Effort, Finding, Result, Spread, alternating

SHORT, LONG = 1000, 100_000
RATIO, IDLE_REQUESTS = 0.9, 5
BUSY = (0, 10, 50, 100)
SETTLE, WATCH = 3.0, 5.0  # seconds


def measure(effort: Effort) -> Result:
    with lab(effort.folder / "short") as one, lab(effort.folder / "long") as other:
        short, long = _rates(one, other, effort)
    with lab(effort.folder / "idle") as made:
        idle = {contender.name: _idle(made, contender, effort) for contender in (OURS_LLM, ARQ)}
    ratio = long.median / short.median
    ours, arq = idle[OURS_LLM.name], idle["arq"]
    found = [
        Finding(
            f"3 jobs/s with {effort.size(LONG):,} waiting",
            f"≥ {RATIO} × with {SHORT:,}",
            long.show("jobs/s"),
            f"with {SHORT:,}: {short.show()}",
            f"{ratio:.2f}×",
            ratio >= RATIO,
        )
    ]
    for busy in BUSY:
        wanted = f"≤ {IDLE_REQUESTS}/s"
        measured, peer = f"{ours[busy]:.1f}/s", f"arq {arq[busy]:.0f}/s"
        goal = f"3 requests of an idle worker, {busy} jobs run elsewhere"
        found.append(Finding(goal, wanted, measured, peer, met=ours[busy] <= IDLE_REQUESTS))
    return Result(found, {"short": short.values, "long": long.values, "idle_requests_per_second": idle})


def _rates(one: Lab, other: Lab, effort: Effort) -> tuple[Spread, Spread]:
    """Give the rates of the first thousand jobs of fresh workers, with a short and with a long queue behind them."""
    waiting = effort.size(LONG)
    Trial(other, OURS_LLM, "fill").run("fill", jobs=waiting, patience=240)
    rates: dict[int, list[float]] = {SHORT: [], LONG: []}
    for turn, size in alternating([SHORT, LONG], max(1, 2 * effort.repeats - 1)):
        trial = Trial(one if size == SHORT else other, OURS_LLM, f"turn-{turn}")
        if size == SHORT:
            one.flush()
            trial.run("fill", jobs=SHORT)
        rates[size].append(_first(trial, SHORT))
    short, long = Spread(rates[SHORT]), Spread(rates[LONG])
    effort.say(f"  {SHORT:,} waiting: {short.show('jobs/s')}; {waiting:,} waiting: {long.show('jobs/s')}")
    return short, long


def _first(trial: Trial, jobs: int) -> float:
    """Run a worker for its first `jobs` jobs, let it end well, and give their rate."""
    (worker,) = trial.workers(1)
    trial.open()
    until(lambda: trial.count() >= jobs, what=f"{jobs} jobs", every=0.005)
    worker.popen.terminate()
    worker.wait()
    entries = trial.entries()[:jobs]
    return (jobs - 1) / (entries[-1].began - entries[0].began)


def _idle(made: Lab, contender: Contender, effort: Effort) -> dict[int, float]:
    """Count the requests a second of a worker that has nothing to do."""
    found = {}
    for busy in BUSY:
        made.flush()
        trial = Trial(made, contender, f"{contender.name}-busy-{busy}")
        (other,) = trial.workers(1)
        trial.open()
        if busy:
            trial.run("fill", jobs=busy, kind="wait", seconds=60)
            until(lambda trial=trial, busy=busy: trial.count() >= busy, what="busy workers")  # type: ignore[misc]
        with counting(made.redis_url) as counted:
            idler = Trial(made, contender, f"{contender.name}-idle-{busy}")
            (idle,) = idler.workers(1, REDIS_URL=counted.url)
            idler.open()
            time.sleep(SETTLE)
            before = counted.total
            time.sleep(WATCH)
            found[busy] = (counted.total - before) / WATCH
            if not counted.connections:
                raise NotMeasuredError("the idle worker did not connect")
            idle.end()
        other.end()
        effort.say(f"  {contender.name}, {busy} jobs elsewhere: {found[busy]:.1f} requests/s")
    return found
