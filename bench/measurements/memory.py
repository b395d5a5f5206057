"""Goal 4: the memory that fifty calls take while they wait for a provider, in every way to run them."""

from dataclasses import replace

import psutil

from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, CELERY, GEVENT, OURS_LLM, RQ
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import Memory, NotMeasuredError, until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.report.result import Effort, Finding, Result, not_measured

WAITING = 50
MEGABYTES = 100
FOREVER = 600.0
GOAL = f"4 memory, {WAITING} waiting calls"


def measure(effort: Effort) -> Result:
    waiting = effort.size(WAITING, least=5)
    found, data, reference = [], {}, 0.0
    with lab(effort.folder / "memory") as made:
        for contender, workers in _table(waiting):
            name = contender.name if workers == 1 else f"{contender.name} × {workers}"
            try:
                memory = _waiting(made, contender, workers, waiting)
            except NotMeasuredError as error:
                found.append(not_measured(GOAL, name, error))
                continue
            said = f"{memory.pss:,.0f} MB PSS, {memory.rss:,.0f} MB RSS, {memory.processes} processes"
            effort.say(f"  {name}: {said}")
            data[name] = vars(memory)
            if contender.part:
                reference = memory.pss
                found.append(Finding(GOAL, f"≤ {MEGABYTES} MB", said, met=memory.pss <= MEGABYTES))
            else:
                ratio = f"{memory.pss / reference:.1f}×" if reference else ""
                found.append(Finding(GOAL, "", said, name, ratio))
    return Result(found, {"waiting": waiting, "megabytes": data})


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
