"""What a job costs Redis: its CPU time by `INFO cpu`, commands also inside of scripts, and memory by `used_memory`."""

import time
from dataclasses import dataclass, replace

import redis

from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, CELERY, OURS_LLM, OURS_SYNC, RQ, RQ_SIMPLE, SAQ, STREAQ, TASKIQ
from bench.contenders.trial import Trial
from bench.contenders.unfinished import unfinished
from bench.lab.lab import Lab, lab
from bench.lab.processes import until
from bench.provider import process as provider
from bench.report.result import Effort, Finding, Result, beside

JOBS = {False: 2000, True: 300}  # by `alone`: those who are compared have as many
CHAT = replace(OURS_LLM, name="Tandem LLM pool, chat of 1 KB", kind="ask", judged=False)
CHAT_JOBS, CHAT_BYTES = 500, 1024
WAITING, FINISHED, FINISHED_CHAT, MICROSECONDS = 800, 700, 1900, 110
OF_ARQ, OF_RQ = 0.55, 0.4
WARM_UP = 25  # jobs
SETTLE = 0.3  # seconds, in which the server frees what its clients had
PEERS = (ARQ, SAQ, TASKIQ, STREAQ, CELERY, RQ, RQ_SIMPLE)
GOAL = "Redis,"


@dataclass(frozen=True)
class State:
    """Of the server: totals since its start, and what it holds."""

    microseconds: float
    commands: int
    bytes: int

    @classmethod
    def of(cls, made: Lab) -> "State":
        time.sleep(SETTLE)
        cpu, stats = made.info("cpu"), made.info("commandstats")
        used = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
        return cls(used * 1e6, sum(stat["calls"] for stat in stats.values()), made.info("memory")["used_memory"])


@dataclass(frozen=True)
class Cost:
    """Of one job."""

    submit: float  # µs
    run: float  # µs
    commands_submit: float
    commands_run: float
    waiting: float  # bytes
    finished: float  # bytes

    @property
    def total(self) -> float:
        return self.submit + self.run

    def show_time(self) -> str:
        commands = f"{self.commands_submit:.0f} + {self.commands_run:.0f}"
        return f"{self.submit:,.0f} + {self.run:,.0f} µs, {commands} commands"

    def show_bytes(self) -> str:
        return f"{self.waiting:,.0f} waiting, {self.finished:,.0f} finished"


def measure(effort: Effort) -> Result:
    costs: dict[str, Cost] = {}
    with lab(effort.folder / "redis-cost") as made:
        for contender in (OURS_LLM, OURS_SYNC, *PEERS):
            jobs = effort.size(JOBS[contender.alone], least=50)
            costs[contender.name] = _cost(made, contender, jobs)
        stub = provider.start(made, delay=0.0, name="redis-cost")
        costs[CHAT.name] = _cost(made, CHAT, effort.size(CHAT_JOBS), padding=CHAT_BYTES, **stub.env)
    for name, cost in costs.items():
        effort.say(f"  {name}: {cost.show_time()}; bytes: {cost.show_bytes()}")
    return Result(_findings(costs), {name: vars(cost) for name, cost in costs.items()})


def _cost(made: Lab, contender: Contender, jobs: int, *, padding: int = 0, **env: str) -> Cost:
    """Measure jobs after some have run: their scripts are in the server then, which grow with no job."""
    made.flush()
    _run(Trial(made, contender, f"{contender.name}-warm-up"), WARM_UP, padding=padding, **env)
    made.flush()
    return _run(Trial(made, contender, f"{contender.name}-cost"), jobs, padding=padding, **env)


def _run(trial: Trial, jobs: int, *, padding: int, **env: str) -> Cost:
    """Read the server's state before, between and after handing jobs over and running them."""
    made, contender = trial.lab, trial.contender
    before = State.of(made)
    trial.run("fill", jobs=jobs, padding=padding)
    filled = State.of(made)
    (worker,) = trial.workers(1, kind=contender.kind, **env)
    trial.open()
    with redis.Redis.from_url(made.redis_url) as server:
        # Seldom, as looking costs the server time too.
        until(lambda: not unfinished(server, contender, jobs), what=f"the end of {jobs} jobs", every=0.1)
    worker.end()
    done = State.of(made)
    return Cost(
        submit=(filled.microseconds - before.microseconds) / jobs,
        run=(done.microseconds - filled.microseconds) / jobs,
        commands_submit=(filled.commands - before.commands) / jobs,
        commands_run=(done.commands - filled.commands) / jobs,
        waiting=(filled.bytes - before.bytes) / jobs,
        finished=(done.bytes - before.bytes) / jobs,
    )


def _findings(costs: dict[str, Cost]) -> list[Finding]:
    ours, sync, chat = costs[OURS_LLM.name], costs[OURS_SYNC.name], costs[CHAT.name]
    headline = "Redis's CPU time of an LLM job, submit + run"
    return [
        _time(ours, costs[ARQ.name], ARQ.name, wanted=f"≤ {OF_ARQ:g} × arq's", least=1 / OF_ARQ, headline=headline),
        Finding(f"{GOAL} LLM job", f"≤ {MICROSECONDS} µs", f"{ours.total:,.0f} µs", met=ours.total <= MICROSECONDS),
        _time(sync, costs[RQ.name], RQ.name, wanted=f"≤ {OF_RQ:g} × RQ's", least=1 / OF_RQ, headline=""),
        _bytes(f"{GOAL} bytes of a waiting job", ours.waiting, WAITING),
        _bytes(f"{GOAL} bytes of a finished job", ours.finished, FINISHED),
        _bytes(f"{GOAL} bytes of a finished chat of 1 KB", chat.finished, FINISHED_CHAT),
        *(_time(_ours(costs, peer), costs[peer.name], peer.name) for peer in PEERS if peer not in {ARQ, RQ}),
        *(_memory(_ours(costs, peer), costs[peer.name], peer.name) for peer in PEERS),
    ]


def _ours(costs: dict[str, Cost], peer: Contender) -> Cost:
    return costs[OURS_SYNC.name if peer.alone else OURS_LLM.name]


def _time(
    ours: Cost, theirs: Cost, name: str, *, wanted: str = "", least: float | None = None, headline: str = ""
) -> Finding:
    return beside(
        f"{GOAL} CPU a job",
        name,
        theirs.total / ours.total,
        ours=ours.show_time(),
        theirs=theirs.show_time(),
        runs=1,
        wanted=wanted,
        least=least,
        headline=headline,
        words=("less", "more"),
    )


def _bytes(goal: str, measured: float, most: int) -> Finding:
    return Finding(goal, f"≤ {most:,}", f"{measured:,.0f}", met=measured <= most)


def _memory(ours: Cost, theirs: Cost, name: str) -> Finding:
    return beside(
        f"{GOAL} bytes a job",
        name,
        theirs.finished / ours.finished,
        ours=ours.show_bytes(),
        theirs=theirs.show_bytes(),
        runs=1,
        words=("less", "more"),
    )
