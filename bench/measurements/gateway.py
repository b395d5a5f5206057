"""Goal 9: submissions a second of one gateway process, against an endpoint of ten lines that only enqueues."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from bench.lab.lab import ROOT, USER_KEY, Lab, lab
from bench.lab.processes import NotMeasuredError, Running
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import Spread, alternating, percentile
from tandem.deploy.local.ports import free_port

BODY = json.dumps({"text": "The parcel came a day early and well packed.", "rubric": "How satisfied is the customer?"})
HEADERS = {"Authorization": f"Bearer {USER_KEY}", "Content-Type": "application/json"}
SECONDS, WARM_UP = 4.0, 1.0
RATIO, P99_RATIO = 1.0, 1.5
MILLISECONDS = 1000


@dataclass
class Endpoint:
    process: Running
    port: int
    path: str

    def load(self, seconds: float, *, rate: float = 0.0) -> dict[str, Any]:
        """Send submissions; gives what `bench.clients.load` printed, refusing a run with a single wrong answer."""
        options = ["--port", self.port, "--path", self.path, "--seconds", seconds, "--rate", rate]
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "bench.clients.load", *map(str, options)],
            input=json.dumps({"body": BODY, "headers": HEADERS}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        if done.returncode:
            raise NotMeasuredError(done.stderr[-400:])
        found: dict[str, Any] = json.loads(done.stdout)
        if set(found["statuses"]) != {"202"}:
            raise NotMeasuredError(f"answers by status: {found['statuses']}")
        return found


def start_gateway(made: Lab, **env: str) -> Endpoint:
    """Start one process of the real gateway."""
    port = free_port()
    process = made.python("tandem.api", env={"PORT": str(port), "TANDEM_LOG_LEVEL": "info", **env})
    process.until_says("listening on port")
    return Endpoint(process, port, "/v1/score")


def start_bare(made: Lab) -> Endpoint:
    port = free_port()
    options = ["--port", port, "--no-access-log", "--log-level", "info"]
    process = made.python("uvicorn", "bench.clients.bare_endpoint:app", *options)
    process.until_says("Application startup complete")
    return Endpoint(process, port, "/score")


STARTS = {"ours": start_gateway, "bare": start_bare}


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
        Finding(
            "9 submissions/s, one process",
            f"≥ {RATIO:g}× the bare endpoint",
            ours.show(),
            f"bare {bare.show()}",
            f"{ratio:.2f}×",
            ratio >= RATIO,
        ),
        Finding(
            f"9 p99 at {half:,.0f} submissions/s",
            f"≤ {P99_RATIO:g}× the bare endpoint's",
            slow.show("ms", 1),
            f"bare {fast.show('ms', 1)}",
            f"{times:.2f}×",
            times <= P99_RATIO,
        ),
    ]
