"""Goal 9: submissions a second of one gateway process, against an endpoint of ten lines that only enqueues."""

from collections.abc import Callable

from bench.clients.endpoints import Endpoint, start_bare, start_gateway
from bench.lab.lab import Lab, lab
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Spread, alternating, percentile

SECONDS, WARM_UP = 3.0, 1.0
RATIO, P99_RATIO = 1.5, 1.5
MILLISECONDS = 1000
BARE = "ten lines of FastAPI + arq"


STARTS: dict[str, Callable[[Lab], Endpoint]] = {"ours": start_gateway, "bare": start_bare}


def measure(effort: Effort) -> Result:
    seconds = max(1.0, SECONDS * effort.scale)
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    p99s: dict[str, list[float]] = {"ours": [], "bare": []}
    with lab(effort.folder / "gateway") as made:
        for _, name in alternating(list(STARTS), effort.repeats):
            rate = _max_rate(made, name, seconds)
            rates[name].append(rate)
            effort.say(f"  {name}: {rate:,.0f} submissions/s")
        half = min(Spread(found).median for found in rates.values()) / 2
        for _, name in alternating(list(STARTS), effort.repeats):
            p99 = _latency(made, name, seconds, half)
            p99s[name].append(p99)
            effort.say(f"  {name}: p99 {p99:.1f} ms at {half:,.0f} a second")
    return Result(_findings(rates, p99s, half), {"rates": rates, "p99_ms": p99s, "half_rate": half})


def _max_rate(made: Lab, name: str, seconds: float) -> float:
    made.flush()
    endpoint = STARTS[name](made)
    endpoint.load(WARM_UP)
    found = endpoint.load(seconds)
    endpoint.process.end()
    return float(found["statuses"]["202"] / found["seconds"])


def _latency(made: Lab, name: str, seconds: float, rate: float) -> float:
    made.flush()
    endpoint = STARTS[name](made)
    endpoint.load(WARM_UP, rate=rate)
    found = endpoint.load(seconds, rate=rate)
    endpoint.process.end()
    return percentile(found["latencies"], 99) * MILLISECONDS


def _findings(rates: dict[str, list[float]], p99s: dict[str, list[float]], half: float) -> list[Finding]:
    ours, bare = Spread(rates["ours"]), Spread(rates["bare"])
    ratio = ours.median / bare.median
    slow, fast = Spread(p99s["ours"]), Spread(p99s["bare"])
    times = slow.median / fast.median
    return [
        beside(
            "9 submissions/s, one process",
            BARE,
            ratio,
            ours=ours.show(),
            theirs=bare.show(),
            runs=ours.runs,
            wanted=f"≥ {RATIO:g}× the bare endpoint",
            least=RATIO,
            headline="submissions a second to one gateway process",
        ),
        beside(
            f"9 p99 at {half:,.0f} submissions/s",
            BARE,
            1 / times,
            ours=slow.show("ms", 1),
            theirs=fast.show("ms", 1),
            runs=slow.runs,
            wanted=f"≤ {P99_RATIO:g}× the bare endpoint's",
            least=1 / P99_RATIO,
            headline=f"p99 of a submission at {half:,.0f} a second",
        ),
    ]
