"""Goal 10: a thousand long-pollers and a thousand watchers of events on one gateway process."""

import json
import sys
import time
from urllib.parse import urlsplit

import psutil

from bench.clients.endpoints import BODY, Endpoint, start_gateway
from bench.clients.watchers import OPENED, PATHS
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import USER_KEY, Lab, lab
from bench.lab.processes import NotMeasuredError, Running
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import percentile

JOBS = 1000
MEGABYTES, CONNECTIONS, P50 = 250, 5, 20
FIRST, APART = 3.0, 0.02  # seconds: when the first job ends, and then every so often one
MILLISECONDS = 1000


def measure(effort: Effort) -> Result:
    jobs = effort.size(JOBS)
    with lab(effort.folder / "waiters") as made:
        gateway = start_gateway(made, extended=True)
        trial = Trial(made, OURS_LLM, "waiters")
        (_,) = trial.workers(1, TANDEM_LLM_CONCURRENCY=str(jobs))
        with gateway.connected() as connection:
            bodies = [{"seconds": FIRST + number * APART} for number in range(jobs)]
            ids = [str(connection.post("/v1/llm_noop", body)["id"]) for body in bodies]
        watchers = _watch(made, gateway, ids)
        memory = gateway.process.memory()
        connections = _connections(gateway.process, made)
        trial.open()
        answers = _submissions(gateway, seconds=FIRST + jobs * APART)
        notices = json.loads(watchers.wait(patience=FIRST + jobs * APART + 60).splitlines()[-1])
    if len(notices) != jobs * len(PATHS):
        raise NotMeasuredError(f"{len(notices)} notices of {jobs * len(PATHS)}")
    late = {kind: [(noticed - done) * MILLISECONDS for k, done, noticed in notices if k == kind] for kind in PATHS}
    data = {"jobs": jobs, "pss": memory.pss, "connections": connections, "late_ms": late, "submissions_ms": answers}
    return Result(_findings(jobs, memory.pss, connections, late, answers), data)


def _watch(made: Lab, gateway: Endpoint, ids: list[str]) -> Running:
    """Start the watchers and wait until all of them wait."""
    given = made.folder / "ids.json"
    given.write_text(json.dumps(ids))
    options = f"--port {gateway.port} --key {USER_KEY}"
    command = f'exec "$0" -m bench.clients.watchers {options} < "{given}"'
    watchers = made.start(["sh", "-c", command, sys.executable], name="watchers")
    watchers.until_says("\n")
    if OPENED not in watchers.output:
        raise NotMeasuredError(f"{PATHS['events']} {watchers.output.strip()}")
    time.sleep(1.0)  # the long-pollers have no sign that they are heard
    return watchers


def _connections(process: Running, made: Lab) -> int:
    """Count the gateway's connections to the server."""
    port = urlsplit(made.redis_url).port
    found = psutil.Process(process.popen.pid).net_connections(kind="tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED)


def _submissions(gateway: Endpoint, *, seconds: float) -> list[float]:
    """Submit now and then while the notices go out; gives the latencies in ms."""
    latencies, end = [], time.monotonic() + seconds
    with gateway.connected() as connection:
        while time.monotonic() < end:
            began = time.perf_counter()
            connection.post(gateway.path, json.loads(BODY))
            latencies.append((time.perf_counter() - began) * MILLISECONDS)
            time.sleep(0.2)
    return latencies


def _findings(
    jobs: int, pss: float, connections: int, late: dict[str, list[float]], answers: list[float]
) -> list[Finding]:
    watchers = f"{jobs:,} long-pollers, {jobs:,} event watchers"
    goal, memory = f"10 {watchers}", f"memory of a gateway with {watchers}"
    found = [
        Finding(
            goal,
            f"≤ {MEGABYTES} MB",
            f"{pss:.0f} MB PSS",
            met=pss <= MEGABYTES,
            headline=memory,
        ),
        Finding(goal, f"≤ {CONNECTIONS} Redis connections", f"{connections}", met=connections <= CONNECTIONS),
    ]
    for kind, values in late.items():
        p50 = percentile(values, 50)
        said = f"p50 {p50:.1f} ms, p99 {percentile(values, 99):.1f} ms"
        found.append(
            Finding(
                f"{goal}: finish to notice, {kind}",
                f"p50 ≤ {P50} ms",
                said,
                met=p50 <= P50,
                headline=f"from finish to notice, {kind}",
            )
        )
    said = f"{len(answers)} answered, p50 {percentile(answers, 50):.0f} ms, slowest {max(answers):.0f} ms"
    found.append(Finding(goal, "submissions still answered", said, met=bool(answers)))
    return found
