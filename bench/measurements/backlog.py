"""Goal 3: what a long queue costs, and what an idle worker sends while others are busy."""

import time

from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import NotMeasuredError, until
from bench.lab.redis_proxy import counting
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Spread, alternating
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName, look, pause

SHORT, LONG = 1000, 100_000
RATIO, IDLE_REQUESTS = 0.9, 5
BUSY = (0, 100)
WARM_UP, TURNS = 2, 5  # turns; of the latter for each repeat
SETTLE, WATCH = 3.0, 5.0  # seconds


def measure(effort: Effort) -> Result:
    with lab(effort.folder / "short") as one, lab(effort.folder / "long") as other:
        short, long = _rates(one, other, effort)
    with lab(effort.folder / "idle") as made:
        idle = {contender.name: _idle(made, contender, effort) for contender in (OURS_LLM, ARQ)}
    ratio = long.median / short.median
    ours, arq = idle[OURS_LLM.name], idle["arq"]
    found = [
        beside(
            f"3 jobs/s with {effort.size(LONG):,} waiting",
            f"with {SHORT:,}",
            ratio,
            ours=long.show("jobs/s"),
            theirs=short.show(),
            runs=long.runs,
            wanted=f"≥ {RATIO} × with {SHORT:,}",
            least=RATIO,
            headline=f"jobs a second with {effort.size(LONG):,} waiting",
        )
    ]
    for busy in BUSY:
        wanted = f"≤ {IDLE_REQUESTS}/s"
        measured, peer = f"{ours[busy]:.1f}/s", f"arq {arq[busy]:.0f}/s"
        goal = f"3 requests of an idle worker, {busy} jobs run elsewhere"
        found.append(Finding(goal, wanted, measured, peer, met=ours[busy] <= IDLE_REQUESTS))
    return Result(found, {"short": short.values, "long": long.values, "idle_requests_per_second": idle})


def _rates(one: Lab, other: Lab, effort: Effort) -> tuple[Spread, Spread]:
    """Give the rates of a thousand jobs in a row, with nothing and with a long queue behind them."""
    waiting = effort.size(LONG)
    short, long = _Bursts(one, "short"), _Bursts(other, "long")
    long.trial.run("fill", jobs=waiting, patience=240)
    rates: dict[str, list[float]] = {"short": [], "long": []}
    for turn, bursts in alternating([short, long], WARM_UP + TURNS * effort.repeats):
        if bursts is short:
            short.trial.run("fill", jobs=SHORT)
        rate = bursts.burst()
        if turn >= WARM_UP:
            rates[bursts.name].append(rate)
    effort.say(f"  {SHORT:,} waiting: {Spread(rates['short']).show('jobs/s')}")
    effort.say(f"  {waiting:,} waiting: {Spread(rates['long']).show('jobs/s')}")
    return Spread(rates["short"]), Spread(rates["long"])


class _Bursts:
    """One worker that runs a thousand jobs at a time: its queue is paused between two bursts."""

    def __init__(self, made: Lab, name: str) -> None:
        self.name = name
        self.trial = Trial(made, OURS_LLM, name)
        self._book = Book(client(made.redis_url))
        self._pause(paused=True)
        self.trial.workers(1)
        self.trial.open()

    def burst(self) -> float:
        """Give jobs a second, from the first one's start to the thousandth's."""
        before = self.trial.count()
        self._pause(paused=False)
        until(lambda: self.trial.count() >= before + SHORT, what=f"{SHORT} jobs", every=0.005)
        self._pause(paused=True)
        until(self._quiet, what="the end of what had begun")
        entries = self.trial.entries()[before : before + SHORT]
        return (SHORT - 1) / (entries[-1].began - entries[0].began)

    def _pause(self, *, paused: bool) -> None:
        self._book.run(pause(QueueName.LLM, paused=paused))

    def _quiet(self) -> bool:
        return self._book.run(look(QueueName.LLM)).running == 0


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
