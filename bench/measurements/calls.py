"""Goal 4: real calls through the openai SDK, many at once in one process, against the same calls without any queue."""

from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import Memory, NotMeasuredError, Running, until
from bench.provider import process as provider
from bench.provider.process import Provider
from bench.report.result import Effort, Finding, Result, not_measured
from bench.report.statistics import Spread, alternating

CALLS, AT_ONCE, DELAY = 2000, 500, 2.0
FACTOR, MEGABYTES = 1.15, 150
WANTED = f"≤ {FACTOR} × a bare asyncio.gather"
Measured = tuple[float, float]  # seconds, MB of PSS at the busiest


def measure(effort: Effort) -> Result:
    calls = effort.size(CALLS, least=AT_ONCE // 5)
    at_once = min(AT_ONCE, calls // 2)
    took: dict[str, list[float]] = {"ours": [], "bare": []}
    memory: dict[str, list[float]] = {"ours": [], "bare": []}
    with lab(effort.folder / "calls") as made:
        for turn, who in alternating([_ours, _bare], max(1, effort.repeats - 1)):
            name = "ours" if who is _ours else "bare"
            seconds, megabytes = who(made, calls, at_once, turn)
            took[name].append(seconds)
            memory[name].append(megabytes)
            effort.say(f"  {calls} calls, {at_once} at once, {name}: {seconds:.2f} s, {megabytes:.0f} MB")
    data = {"calls": calls, "at_once": at_once, "seconds": took, "megabytes": memory}
    return Result(_findings(took, memory, calls, at_once), data)


def _ours(made: Lab, calls: int, at_once: int, turn: int) -> Measured:
    made.flush()
    stub = provider.start(made, delay=DELAY, name=f"ours-{turn}")
    trial = Trial(made, OURS_LLM, f"ours-{turn}")
    trial.run("fill", jobs=calls, kind="ask")
    (worker,) = trial.workers(1, kind="ask", **stub.env, TANDEM_LLM_CONCURRENCY=str(at_once))
    trial.open()
    return _watch(stub, calls, worker)


def _bare(made: Lab, calls: int, at_once: int, turn: int) -> Measured:
    stub = provider.start(made, delay=DELAY, name=f"bare-{turn}")
    process = made.python("bench.provider.process", "--calls", calls, "--at-once", at_once, env=stub.env)
    return _watch(stub, calls, process)


def _watch(stub: Provider, calls: int, caller: Running) -> Measured:
    """Give the time from the first request that the provider saw to its last answer, and the memory half way."""
    until(lambda: stub.count() >= calls // 2, what="half of the calls", every=0.1)
    memory: Memory = caller.memory()
    until(lambda: stub.count() >= calls, what="all calls", every=0.05)
    served = stub.served()
    caller.end()
    stub.process.end()
    if len(served) != calls or any(line.status != 200 for line in served):
        raise NotMeasuredError(f"the provider served {len(served)} requests for {calls} calls")
    return max(line.answered for line in served) - served[0].came, memory.pss


def _findings(took: dict[str, list[float]], memory: dict[str, list[float]], calls: int, at_once: int) -> list[Finding]:
    what = f"4 {calls:,} calls of {DELAY:g} s, {at_once} at once"
    if not (took["ours"] and took["bare"]):
        return [not_measured(what, WANTED, "see the output")]
    ours, bare, megabytes = Spread(took["ours"]), Spread(took["bare"]), Spread(memory["ours"])
    ratio = ours.median / bare.median
    peer = f"bare {bare.show('s', 1)}"
    return [
        Finding(what, WANTED, ours.show("s", 1), peer, f"{ratio:.2f}×", ratio <= FACTOR, ours.runs, headline=what[2:]),
        Finding(
            what,
            f"≤ {MEGABYTES} MB",
            megabytes.show("MB"),
            f"bare {Spread(memory['bare']).show('MB')}",
            met=megabytes.median <= MEGABYTES,
            runs=megabytes.runs,
        ),
    ]
