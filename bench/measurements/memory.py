"""Goal 4: the memory that fifty calls take while they wait for a provider, in every way to run them."""

import time
from dataclasses import replace

import psutil

from bench.clients.endpoints import start_gateway
from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, CELERY, GEVENT, OURS_LLM, OURS_SYNC, RQ
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import Memory, NotMeasuredError, until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.report.result import Effort, Finding, Result, beside, not_measured

WAITING = 50
MEGABYTES = 100
IDLE_GATEWAY = 50
SETTLE = 3.0  # seconds
FOREVER = 600.0
GOAL = f"4 memory, {WAITING} waiting calls"


def measure(effort: Effort) -> Result:
    waiting = effort.size(WAITING, least=5)
    found: dict[str, Memory] = {}
    failures: dict[str, str] = {}
    with lab(effort.folder / "memory") as made:
        idle = _idle(made)
        for contender, workers in _table(waiting):
            name = contender.name if workers == 1 else f"{contender.name} × {workers}"
            try:
                found[name] = _waiting(made, contender, workers, waiting)
            except NotMeasuredError as error:
                failures[name] = str(error)
    for name, memory in (idle | found).items():
        effort.say(f"  {name}: {_said(memory)}")
    rows = [_idle_row(name, memory) for name, memory in idle.items()]
    rows += [not_measured(GOAL, name, why) for name, why in failures.items()]
    data = {"waiting": waiting, "megabytes": {name: vars(memory) for name, memory in (idle | found).items()}}
    return Result([*rows, *_rows(found)], data)


def _said(memory: Memory) -> str:
    processes = f"{memory.processes} process{'es' * (memory.processes > 1)}"
    return f"{memory.pss:,.0f} MB PSS, {memory.rss:,.0f} MB RSS, {processes}"


def _rows(found: dict[str, Memory]) -> list[Finding]:
    """Compare by PSS, which counts what processes share once."""
    ours = found.get(OURS_LLM.name)
    if not ours:
        return []
    goal, met = f"≤ {MEGABYTES} MB PSS", ours.pss <= MEGABYTES
    rows = [Finding(GOAL, goal, _said(ours), met=met)]
    for name, theirs in found.items():
        if name == OURS_LLM.name:
            continue
        headline = f"memory of {WAITING} waiting calls" if name == CELERY.name else ""
        ratio, said = theirs.pss / ours.pss, (_said(ours), _said(theirs))
        words = ("less", "more")
        rows.append(beside(GOAL, name, ratio, ours=said[0], theirs=said[1], runs=1, headline=headline, words=words))
    return rows


def _idle(made: Lab) -> dict[str, Memory]:
    """Start one of each part and measure it when it has nothing to do."""
    gateway = start_gateway(made)
    parts = {"idle gateway": gateway.process}
    for contender in (OURS_LLM, OURS_SYNC):
        trial = Trial(made, contender, f"{contender.name}-idle")
        (parts[f"idle worker, {contender.name}"],) = trial.workers(1)
        trial.open()
    time.sleep(SETTLE)
    found = {name: process.memory() for name, process in parts.items()}
    for process in parts.values():
        process.end()
    return found


def _idle_row(name: str, memory: Memory) -> Finding:
    goal = f"8 memory, {name}"
    if name != "idle gateway":
        return Finding(goal, "", _said(memory), headline=f"memory, {name}")
    wanted, met = f"≤ {IDLE_GATEWAY} MB PSS", memory.pss <= IDLE_GATEWAY
    return Finding(goal, wanted, _said(memory), met=met, headline=f"memory, {name}")


def _table(waiting: int) -> list[tuple[Contender, int]]:
    """Who runs the calls, and in how many workers."""
    return [
        (OURS_LLM, 1),
        (replace(ARQ, concurrency=waiting), 1),
        (replace(GEVENT, concurrency=waiting), 1),
        (replace(CELERY, concurrency=waiting), 1),
        (RQ, waiting),
    ]


def _waiting(made: Lab, contender: Contender, workers: int, waiting: int) -> Memory:
    """Let `waiting` calls wait, and measure all processes of the workers."""
    made.flush()
    stub = provider.start(made, delay=FOREVER, name=f"{contender.name}-memory")
    trial = Trial(made, contender, f"{contender.name}-memory")
    client = stub.env | {"TANDEM_LLM_CONCURRENCY": str(waiting), "TANDEM_LLM_TIMEOUT": f"{FOREVER:.0f}s"}
    started = trial.workers(workers, kind="ask", **client)
    trial.open()
    trial.run("fill", jobs=waiting, kind="ask")
    until(lambda: _connections(stub) >= waiting, what=f"{waiting} waiting calls", patience=180, every=0.25)
    memory = Memory.of(*(worker.popen.pid for worker in started))
    for worker in started:
        worker.end()
    stub.process.end()
    return memory


def _connections(stub: Provider) -> int:
    """Count the callers that the provider has on the line."""
    found = psutil.Process(stub.process.popen.pid).net_connections(kind="tcp")
    return sum(1 for connection in found if connection.status == psutil.CONN_ESTABLISHED)
