"""A mixed load at two limits: how much of each is used, and how soon a job of high priority starts.

Two models have a limit each, and so a lane. In both wait more jobs of normal and low priority, of all sizes, than the
limit lets through, and now and then comes one of high priority. Judged by the provider's own log.
"""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.clients.endpoints import Endpoint, start_gateway
from bench.clients.tenants import Order, chat, hand_over, prompt
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.jobs import work
from bench.lab.lab import lab
from bench.lab.processes import until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.provider.stub import Served
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import Latencies
from tandem.shared.tasks.spec import Priority

SECONDS, DELAY, PROCESSES = 90.0, 0.3, 2
SHARE, SPACINGS = 0.98, 2
HIGH_EVERY = 5  # spacings, on average
LARGEST = 4000  # bytes of a prompt
MILLISECONDS = 1000


@dataclass(frozen=True)
class Lane:
    """A model with a limit. Its requests are marked from `mark` on: those of jobs that wait with just that."""

    model: str
    rpm: int
    mark: int

    @property
    def spacing(self) -> float:
        return 60 / self.rpm

    def has(self, served: Served) -> bool:
        return self.mark <= served.mark < self.mark + 10**6


LANES = (Lane("fast", 600, 10**6), Lane("slow", 120, 2 * 10**6))


def measure(effort: Effort) -> Result:
    seconds = max(12.0, SECONDS * effort.scale)
    with lab(effort.folder / "priorities") as made:
        stub = provider.start(made, delay=DELAY, name="priorities")
        trial = Trial(made, OURS_LLM, "priorities")
        config = stub.config(**{lane.model: {"rpm": lane.rpm} for lane in LANES})
        trial.workers(PROCESSES, **config)
        gateway = start_gateway(made, extended=False, **config)  # or both models would share a lane: it names neither
        for lane in LANES:
            hand_over(made, _backlog(lane, round(seconds * 1.5 / lane.spacing)))
        trial.open()
        with ThreadPoolExecutor(len(LANES)) as threads:
            sent = [threads.submit(_submit_high, gateway, stub, lane, seconds) for lane in LANES]
            posted = {mark: moment for one in sent for mark, moment in one.result().items()}
        time.sleep(DELAY + 1)
        log = stub.served()
    result = Result()
    for lane in LANES:
        served = [one for one in log if lane.has(one)]
        result.findings += _findings(lane, served, posted, seconds, effort)
        result.data[lane.model] = {"rpm": lane.rpm, "high_ms": _high(lane, served, posted)}
    return result


def _backlog(lane: Lane, jobs: int) -> Iterator[Order]:
    for number in range(jobs):
        priority = Priority.NORMAL if number % 2 else Priority.LOW
        size = random.randrange(LARGEST)  # noqa: S311 - not a secret
        yield chat(lane.mark, model=lane.model, size=size, priority=priority)


def _submit_high(gateway: Endpoint, stub: Provider, lane: Lane, seconds: float) -> dict[int, float]:
    """Submit jobs of high priority at random moments; gives when each was sent, by its mark."""
    until(lambda: any(lane.has(one) for one in stub.served()), what=f"the first call of {lane.model}", every=0.1)
    posted: dict[int, float] = {}
    ends = time.monotonic() + seconds - SPACINGS * lane.spacing
    with gateway.connected() as connection:
        while True:
            time.sleep(lane.spacing * HIGH_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
            if time.monotonic() > ends:
                return posted
            mark = lane.mark + len(posted) + 1
            posted[mark] = time.time()
            body = {"messages": work.messages(prompt(mark)), "model": lane.model}
            connection.post("/v1/chat?priority=high", body)


def _high(lane: Lane, served: list[Served], posted: dict[int, float]) -> list[float]:
    return [(one.came - posted[one.mark]) * MILLISECONDS for one in served if one.mark > lane.mark]


def _findings(lane: Lane, log: list[Served], posted: dict[int, float], seconds: float, effort: Effort) -> list[Finding]:
    within = [one for one in log if 0 < one.came - log[0].came < seconds]
    used = sum(one.status == 200 for one in within) * lane.spacing / seconds
    high = Latencies([_high(lane, log, posted)])
    missing = sum(lane.mark < mark < lane.mark + 10**6 for mark in posted) - len(high.all)
    most = SPACINGS * lane.spacing * MILLISECONDS
    shown = high.show() + (f", {missing} not started" if missing else "")
    effort.say(f"  {lane.rpm} RPM: {used:.1%} used, {len(high.all)} high: {shown}")
    goal = f"mixed load at {lane.rpm} RPM over {PROCESSES} processes, {seconds:g} s"
    headline = f"`high` at a full limit of {lane.rpm} RPM: from POST to the provider"
    return [
        Finding(goal, f"≥ {SHARE:.0%} of the limit used", f"{used:.1%}", met=used >= SHARE),
        Finding(
            f"{goal}: `high` from POST to the provider",
            f"p99 ≤ {SPACINGS} × the lane's spacing, {most:.0f} ms",
            shown,
            met=not missing and high.at(99) <= most,
            headline=headline,
        ),
    ]
