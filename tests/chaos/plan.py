"""What a run does and when: the schedule of submissions and of faults. A pure function of the seed."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LLM_PART = 0.75  # of the jobs
LIMIT = 0.9  # of the LLM pool's demand that the provider's limit lets pass: jobs wait for it all the time
POISONS = (3, 2000)  # of each pool in a run: at least so many, and one for so many jobs
WARM_UP = 2.0  # seconds before the first fault
SLOW = 8.0  # seconds that a slow answer takes: longer than a lease
LONG_WORK = 6  # jobs


class Role(StrEnum):
    """A kind of process."""

    GATEWAY = "gateway"
    LLM = "llm worker"
    SYNC = "sync worker"
    CLOCK = "clock"
    REDIS = "redis"


class Act(StrEnum):
    """What is done to a process."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP"  # and SIGCONT after a while
    RESTART = "SIGTERM"
    CUT = "cut"  # all its connections, at Redis


SIZES = {Role.GATEWAY: 2, Role.LLM: 3, Role.SYNC: 2, Role.CLOCK: 2, Role.REDIS: 1}


@dataclass(frozen=True)
class Fault:
    """At `at` seconds, `act` on number `which` of the role; `seconds`: until it goes on, or is started again."""

    at: float
    role: Role
    which: int
    act: Act
    seconds: float


@dataclass(frozen=True)
class Submission:
    """One job: what is posted at `at` seconds, and what its submitter does besides."""

    at: float
    marker: str
    task: str
    body: dict[str, Any]
    query: dict[str, str]
    repeats: int = 0  # of the same request with the same key, at the same time
    conflict: bool = False  # another body with the same key
    cancel: float | None = None  # seconds after it was accepted
    retry: bool = False  # once it is cancelled
    follow: bool = False  # wait for its end, and remember what was seen
    poison: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    submissions: list[Submission]
    faults: list[Fault]
    rpm: int  # of the provider, over all workers

    @property
    def seconds(self) -> float:
        return self.submissions[-1].at


# Of the jobs, in per cent.
SHARES = {
    "chat": 32,
    "chat slow": 3,
    "score": 25,
    "embed": 12,
    "extract": 3,
    "report": 8,
    "email": 10,
    "cleanup": 4,
    "sync_trouble": 3,
}
# How often, what, of which kind, at least and at most how many seconds.
FAULTS = [
    (16, Role.LLM, Act.KILL, (0.1, 1)),
    (10, Role.LLM, Act.RESTART, (0, 0.5)),
    (6, Role.LLM, Act.STOP, (8.5, 11)),  # longer than a lease
    (6, Role.LLM, Act.STOP, (0.5, 3)),
    (14, Role.SYNC, Act.KILL, (0.1, 1)),
    (8, Role.SYNC, Act.RESTART, (0, 0.5)),
    (5, Role.SYNC, Act.STOP, (8, 11)),
    (5, Role.SYNC, Act.STOP, (0.5, 3)),
    (8, Role.GATEWAY, Act.KILL, (0.1, 1)),
    (5, Role.GATEWAY, Act.RESTART, (0, 0.5)),
    (4, Role.GATEWAY, Act.STOP, (1, 5)),
    (6, Role.CLOCK, Act.KILL, (0.1, 2)),
    (3, Role.CLOCK, Act.STOP, (2, 8)),
    (5, Role.REDIS, Act.KILL, (0.1, 2)),
    (2, Role.REDIS, Act.RESTART, (0.1, 1)),
    (3, Role.REDIS, Act.STOP, (0.5, 5)),
    (6, Role.REDIS, Act.CUT, (0, 0)),
]
# These belong to any run, however short: each must be survived, and is needed to see what is broken.
ALWAYS = [
    (Role.LLM, Act.STOP, 9.0),
    (Role.SYNC, Act.KILL, 0.3),
    (Role.REDIS, Act.KILL, 0.5),
    (Role.GATEWAY, Act.KILL, 0.2),
    (Role.LLM, Act.KILL, 0.3),
    (Role.SYNC, Act.RESTART, 0.0),
    (Role.LLM, Act.RESTART, 0.0),
    (Role.SYNC, Act.STOP, 9.0),
    (Role.REDIS, Act.CUT, 0.0),
    (Role.LLM, Act.STOP, 10.0),
    (Role.CLOCK, Act.KILL, 0.2),
]


def make(seed: int, *, jobs: int, rate: float, every: float) -> Plan:
    """Plan `jobs` submissions, about `rate` a second, and a fault about `every` so many seconds meanwhile."""
    chance = random.Random(seed)  # noqa: S311 - a plan that anyone can have again
    submissions, at = [], 0.0
    for number in range(jobs):
        at += chance.expovariate(rate)
        submissions.append(_submission(chance, seed, number, at))
    least, share = POISONS
    places = chance.sample(range(jobs // 10, jobs * 7 // 10), 2 * max(least, jobs // share))
    for i, place in enumerate(places):
        submissions[place] = _poison(submissions[place], "async" if i % 2 else "sync")
    faults = _faults(chance, at, every)
    return Plan(seed, _with_long_work(submissions, faults), faults, round(60 * rate * LLM_PART * LIMIT))


def _with_long_work(submissions: list[Submission], faults: list[Fault]) -> list[Submission]:
    """Before an LLM worker is stopped, let some slow answers be under way.

    They come while it is stopped, and while others have its jobs: when it goes on, it must not write them.
    """
    stops = [fault.at for fault in faults if (fault.role, fault.act) == (Role.LLM, Act.STOP) and fault.seconds > SLOW]
    changed = list(submissions)
    for stop in stops:
        near = [i for i, job in enumerate(changed) if stop - 1.5 < job.at < stop - 0.3 and not job.poison]
        for i in near[:LONG_WORK]:
            was = changed[i]
            changed[i] = Submission(was.at, was.marker, "chat", _body("chat slow", was.marker), {"priority": "high"})
    return changed


def _faults(chance: random.Random, until: float, every: float) -> list[Fault]:
    weights = [weight for weight, *_ in FAULTS]
    sure = list(ALWAYS)
    faults, at = [], WARM_UP
    while at < until:
        if sure:
            role, act, seconds = sure.pop(0)
        else:
            [(_, role, act, (least, most))] = chance.choices(FAULTS, weights)
            seconds = chance.uniform(least, most)
        faults.append(Fault(at, role, chance.randrange(SIZES[role]), act, seconds))
        at += chance.uniform(0.4, 1.6) * every
    return faults


def _submission(chance: random.Random, seed: int, number: int, at: float) -> Submission:
    marker = f"job-{seed}-{number}."
    task, body = _work(chance, marker)
    query: dict[str, str] = {}
    if (drawn := chance.random()) < 0.2:
        query["priority"] = "high" if drawn < 0.1 else "low"
    if chance.random() < 0.06:
        query["delay"] = f"{chance.uniform(0.3, 6):.1f}"
    elif chance.random() < 0.02:
        query["expires_in"] = f"{chance.uniform(0.5, 4):.1f}"
    if task == "chat" and chance.random() < 0.1:
        query["stream"] = "true"
    return Submission(
        at,
        marker,
        task,
        body,
        query,
        repeats=chance.choices([0, 1, 3], [90, 8, 2])[0],
        conflict=chance.random() < 0.01,
        cancel=chance.uniform(0, 3) if chance.random() < 0.04 else None,
        retry=chance.random() < 0.5,
        follow=chance.random() < 0.05,
    )


def _work(chance: random.Random, marker: str) -> tuple[str, dict[str, Any]]:
    """Choose a task and make its body."""
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    return kind.partition(" ")[0], _body(kind, marker)


def _body(kind: str, marker: str) -> dict[str, Any]:
    """Give the input of a task, with the marker where the provider or the mail server sees it."""
    shape = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": marker}]},
        "chat slow": {"messages": [{"role": "user", "content": f"{marker} slow"}]},
        "score": {"text": marker},
        "embed": {"texts": [marker]},
        "extract": {"text": marker, "schema": shape},
        "report": {"html": f"<p>{marker}", "title": marker},
        "email": {"to": ["ada@example.com"], "subject": marker, "text": "Hello"},
        "cleanup": {"older_than": "7d", "what": ["records"], "dry_run": True},
        "sync_trouble": {"how": "well"},
    }
    return bodies[kind]


def _poison(was: Submission, pool: str) -> Submission:
    """Make a job that kills its own process, whenever it runs."""
    body = {"how": "kill" if pool == "async" else "segfault"}
    return Submission(was.at, was.marker, f"{pool}_trouble", body, {}, poison=True)
