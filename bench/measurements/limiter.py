"""Goal 6: four processes that want more than the provider allows, judged by the provider's own log."""

import time
from collections import Counter
from dataclasses import dataclass

import redis

from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import Running, interrupt, until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.provider.stub import Served
from bench.report.arrivals import busiest
from bench.report.result import Effort, Finding, Result
from tandem.shared.store.keys import LimitKey

RPM, TPM = 600, 24_000
PROCESSES, DELAY = 4, 1.0
SECONDS, MINUTE = 110.0, 60.0
SHARE, REFUSED, WINDOW = 0.98, 0.001, 1.01
LEASE = 10.0  # seconds


@dataclass
class Side:
    """One limit with its own server, provider and workers; both run at the same time."""

    unit: str
    limit: int
    lab: Lab
    provider: Provider

    def amount(self, served: Served) -> int:
        return 1 if self.unit == "RPM" else served.used


def measure(effort: Effort) -> Result:
    seconds = SECONDS * effort.scale
    with lab(effort.folder / "rpm") as one, lab(effort.folder / "tpm") as other:
        sides = [
            Side("RPM", RPM, one, provider.start(one, delay=DELAY, name="rpm", rpm=RPM)),
            Side("TPM", TPM, other, provider.start(other, delay=DELAY, name="tpm", tpm=TPM)),
        ]
        workers = [_start(side, jobs=round(RPM * (seconds / MINUTE + 1) * 1.5)) for side in sides]
        for side in sides:
            until(lambda side=side: side.provider.count() > 0, what=f"the first call under {side.unit}")  # type: ignore[misc]
        effort.say(f"  {seconds:g} s with {RPM} RPM and {TPM:,} TPM, {PROCESSES} processes each")
        time.sleep(seconds + DELAY + 1)
        logs = {side.unit: side.provider.served() for side in sides}
        left = [_left_behind(side, running[0]) for side, running in zip(sides, workers, strict=True)]
    result = Result()
    for side in sides:
        result.findings += _findings(side, logs[side.unit], seconds)
        result.data[side.unit] = {"limit": side.limit, "per_second": _per_second(side, logs[side.unit], seconds)}
    result.findings += left
    return result


def _start(side: Side, *, jobs: int) -> list[Running]:
    trial = Trial(side.lab, OURS_LLM, side.unit)
    trial.run("fill", jobs=jobs, kind="ask")
    limit = {f"TANDEM_LLM_{side.unit}": str(side.limit)}
    workers = trial.workers(PROCESSES, kind="ask", **side.provider.env, **limit)
    trial.open()
    return workers


def _left_behind(side: Side, worker: Running) -> Finding:
    """Kill a worker in the midst of its calls; see when what it had reserved is free again."""
    with redis.Redis.from_url(side.lab.redis_url) as client:

        def reserved() -> set[bytes]:
            return set(client.hkeys(LimitKey.LIMIT_RESERVED))

        before = until(reserved, what="a reservation")
        interrupt(worker)
        killed = time.monotonic()
        until(lambda: not before & reserved(), what="the end of a killed worker's reservations", every=0.1)
        took = time.monotonic() - killed
    goal = f"6 {side.unit}: reservations of a worker after kill -9"
    return Finding(
        goal,
        f"back within its lease, {LEASE:g} s",
        f"{len(before)} under way, all back in {took:.1f} s",
        met=took <= LEASE + 1,
    )


def _per_second(side: Side, log: list[Served], seconds: float) -> list[int]:
    sums: Counter[int] = Counter()
    for served in log:
        if served.status == 200:
            sums[int(served.came - log[0].came)] += side.amount(served)
    return [sums[second] for second in range(int(seconds))]


def _findings(side: Side, log: list[Served], seconds: float) -> list[Finding]:
    within = [served for served in log if served.came - log[0].came < seconds]
    good = [served for served in within if served.status == 200]
    used = sum(side.amount(served) for served in good) / (side.limit * seconds / MINUTE)
    refused = sum(1 for served in within if served.status == 429)
    window = busiest([(served.came, side.amount(served)) for served in good]) / side.limit
    goal = f"6 {side.limit:,} {side.unit} over {PROCESSES} processes, {seconds:g} s"
    headline = f"{side.limit:,} {side.unit} over {PROCESSES} processes: share of the limit used"
    said = f"{refused} of {len(within):,}"
    return [
        Finding(goal, f"≥ {SHARE:.0%} of the limit used", f"{used:.1%}", met=used >= SHARE, headline=headline),
        Finding(goal, f"≤ {REFUSED:.1%} answers 429", said, met=refused <= REFUSED * len(within)),
        Finding(goal, f"≤ {WINDOW:.0%} in any 60 s", f"{window:.1%}", met=window <= WINDOW),
    ]
