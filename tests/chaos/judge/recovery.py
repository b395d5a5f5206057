"""How soon the jobs of a process that was hit are at work again: from the hit to the new run's work, seen outside."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.judge.capacity import llm_busy, sync_busy
from tests.chaos.judge.evidence import LEASE, Case, Facts, Hit, Sign, percentile
from tests.chaos.judge.hits import SETTLE
from tests.chaos.judge.lateness import line_of, lines
from tests.chaos.judge.spans import Spans
from tests.chaos.judge.times import moment
from tests.chaos.row import Row

GOAL = 10.0  # seconds
GRACE = 3.0  # seconds in which a worker that is told to stop may still end what it is at
ITSELF = 4.0  # seconds; before the end of a lease nobody else begins: the run itself went on
HOLDERS = {"llm worker", "sync worker", "sync supervisor"}  # who holds leases, or takes the holder with it
LEASED = HOLDERS | {"llm isolation"}  # whose jobs are lost until their lease is over
SHOWN = {"report", "email", "journal"}  # sync tasks whose work is seen outside

# What must be tried: pool, kind and role of the deed, and how many jobs that hits in a short and in a long run.
CAUSES = [
    ("llm", "SIGKILL", "llm worker", 2, 100),
    ("llm", "SIGSTOP", "llm worker", 2, 50),
    ("llm", "SIGTERM", "llm worker", 2, 50),
    ("llm", "died", "llm worker", 2, 20),
    ("llm", "SIGKILL", "llm isolation", 1, 5),
    ("sync", "SIGKILL", "sync worker", 1, 20),
    ("sync", "SIGSTOP", "sync worker", 1, 5),
    ("sync", "SIGTERM", "sync worker", 1, 5),
    ("sync", "SIGKILL", "sync horse", 1, 10),
    ("sync", "SIGKILL", "sync supervisor", 1, 5),
]


class Recovery(NamedTuple):
    """One hit's: `without` are the seconds not counted, in which nobody could have begun."""

    seconds: float
    without: float
    job: str


def recovery(facts: Facts) -> Iterator[Row]:
    """One row for each pool and cause."""
    took: dict[tuple[str, str, str], list[Recovery]] = defaultdict(list)
    apart: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    idle = {"llm": llm_busy(facts), "sync": sync_busy(facts)}
    before = lines(facts)
    for case in facts.cases:
        pool = "llm" if case.llm else "sync"
        for hit in case.hits:
            cause = (pool, hit.deed.kind, hit.deed.role)
            found = restart(facts, case, hit)
            if isinstance(found, str):
                apart[cause][found] += 1
            else:
                turn = max(hit.at, before[line_of(case)].begun(hit.at, found.at) if _queues_anew(hit) else hit.at)
                nobody = turn - hit.at + _without(facts, idle[pool], hit, turn, found.at)
                took[cause].append(Recovery(found.at - hit.at - nobody, nobody, f"{case.id} {case.name}"))
    for pool, kind, role, short, long in CAUSES:
        if (kind, role) not in facts.planned_deeds and kind != "died":
            continue
        yield _row(pool, kind, role, took[pool, kind, role], apart[pool, kind, role], facts.least(short, long))


def _row(pool: str, kind: str, role: str, took: list[Recovery], apart: Counter[str], least: int) -> Row:
    what = f"{role} {kind}" if kind != "died" else "a poison job's kill"
    goal = f"{pool}: recovery after {what}, p99 ≤ 10 s"
    seconds = [each.seconds for each in took]
    excluded = [f"{n} {why}" for why, n in sorted(apart.items())]
    if waited := [each.without for each in took if each.without]:
        why = "Redis took nothing, no worker was free or others came first"
        excluded.append(f"{sum(waited):.0f} s of {len(waited)} hits in which {why}")
    shown = f"{len(took)} hits"
    slow: list[str] = []
    if seconds:
        p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        shown = f"p50 {p50:.1f}, p99 {p99:.1f}, max {max(seconds):.1f} s of {shown}"
        late = sorted((each for each in took if each.seconds > GOAL), reverse=True)
        slow = [f"{each.job} was at work {each.seconds:.1f} s later, besides {each.without:.1f} s" for each in late]
        slow = slow if p99 > GOAL else []
    return Row(
        goal=goal, measured=shown, faults=slow, samples=len(took), least=least, speed=True, apart=", ".join(excluded)
    )


def restart(facts: Facts, case: Case, hit: Hit) -> Sign | str:
    """Find the first work of the new run, or say why there is none to be measured."""
    if why := _uncounted(facts, case, hit):
        return why
    after = [sign for sign in case.signs if sign.at > hit.at and not _of_the_hit_run(hit, sign)]
    again = next((other for other in case.hits if other.at > hit.at and other.lost), None)
    if again and (not after or again.at < after[0].at):
        return "hit again first"
    if not after:
        return "needed no new work"
    if not case.llm and _failed_unseen(case, hit.at, after[0].at):
        return "its next run failed, and left nothing outside"
    if after[0].by == "" and after[0].at - hit.at < _alone(hit):
        return "ended by itself"
    return after[0]


def _failed_unseen(case: Case, start: float, end: float) -> bool:
    """Say whether a run began and failed in between, as a report does on a full disk; a retry's wait follows.

    The book says so, and each failed attempt must have its cause outside (`attempts.caused`).
    """
    entries = case.job.attempts if case.job else []
    return any(entry["type"] != "worker_crash" and start < moment(entry["at"]) < end for entry in entries)


def _uncounted(facts: Facts, case: Case, hit: Hit) -> str:
    """Say why a hit tells nothing of recovery; "" if it does."""
    wish = case.notes.cancel
    reasons = {
        "poison": case.planned.poison,
        "just answered": not hit.sure,
        "stopped for less than a lease": not hit.lost,
        "waited for a limit": case.model in facts.limits,
        "not seen outside": not case.llm and case.planned.task not in SHOWN,
        "cancelled": wish is not None and wish.sent < hit.at + GOAL,
        "ended by itself": _lived_on(case, hit),
    }
    return next((why for why, so in reasons.items() if so), "")


def _lived_on(case: Case, hit: Hit) -> bool:
    """Say whether the run that was hit is the one whose answer, or token, was used."""
    if case.job is None or hit.deed.kind not in {"SIGTERM", "SIGSTOP"} or not case.succeeded:
        return False
    now = [request for request in case.requests if request.came <= hit.at + SETTLE and request.asker == hit.deed.target]
    if now and now[-1] is case.requests[-1]:
        return now[-1].good and now[-1].taken
    own = [run for run in case.runs if run.began <= hit.at and run.ended is not None and run.ended >= hit.at]
    return any(run.token == (case.job.result or {}).get("done") for run in own)


def _of_the_hit_run(hit: Hit, sign: Sign) -> bool:
    """Say whether it is of the worker that was hit: what it had sent, or sends when it goes on after a stop."""
    if hit.deed.role not in HOLDERS:
        return False  # the worker itself lives, and may run it again
    return sign.by == hit.deed.target


def _alone(hit: Hit) -> float:
    """Say how long a mail or a file may be of the run that was hit: nothing names its worker."""
    if hit.deed.role == "sync horse":
        return 0.0
    return GRACE if hit.deed.kind == "SIGTERM" else ITSELF


def _queues_anew(hit: Hit) -> bool:
    """Say whether the job waits for another turn: for all that its worker knows it has killed its process itself."""
    return hit.deed.role == "sync horse"


def _without(facts: Facts, idle: Spans, hit: Hit, turn: float, end: float) -> float:
    """Count the seconds in which Redis took nothing, and those after the lease in which no worker was free."""
    start = hit.at + (LEASE if hit.deed.role in LEASED and hit.burns else 0)
    free = Spans((max(since, start), until) for since, until in idle if until > start)
    return Spans([*facts.unwritable, *free]).within(turn, end)
