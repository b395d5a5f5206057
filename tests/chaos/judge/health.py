"""The platform itself: its key space, how soon it is awake, and that each planned fault was really done."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.judge.evidence import Facts, percentile
from tests.chaos.row import Row

PICK_UP = 40.0  # ms, on a busy machine; three LLM workers that poll twice a second take 125, two sync workers 333
PICKS = 10  # a pool
DAY = 86_400.0  # seconds
JUMP = 10.0  # seconds by which a clock may have been wrong
# What is done to more than one process, and what is to be lost by it: nothing.
SPECIAL = {
    "cut": "connections to Redis cut",
    "away": "Redis away",
    "rollback": "Redis rolled back by a second",
    "partition": "one-way partition from Redis",
    "latency": "slow Redis",
    "cut answers": "answers of Redis cut in the middle",
    "memory full": "Redis out of memory",
    "disk full": "disk full for files",
    "clock jump": "a clock that jumps",
}


def orderly(facts: Facts) -> Row:
    """Every key has an owner or a TTL, and all counters are true."""
    return Row(
        goal="no key without an owner or a TTL",
        measured=f"{len(facts.keyspace)} problems",
        faults=list(facts.keyspace),
        samples=len(facts.listed),
        least=facts.least(200, 10_000),
    )


def kept(facts: Facts) -> Row:
    """A finished job's record lives as long as the setting says: not shorter, and not for ever."""
    faults, looked, ages = [], 0, []
    for case in facts.cases:
        if case.job is None or case.job.finished_at is None or case.ttl is None:
            continue
        looked += 1
        passed = case.ttl.at - case.job.finished_at.timestamp()
        ages.append(passed + case.ttl.seconds)
        # A job whose webhook comes late lives as long from then on.
        if not facts.job_ttl - JUMP <= ages[-1] <= facts.job_ttl + passed + JUMP:
            faults.append(f"{case.id} {case.name} lives {ages[-1]:.0f} s after its end, not {facts.job_ttl:.0f} s")
    shown = f"{looked:,} jobs, {len(faults)} wrong"
    shown += f"; {min(ages) / DAY:.2f} to {max(ages) / DAY:.2f} days" if ages else ""
    return Row(
        goal="a finished job is kept as long as TANDEM_JOB_TTL says",
        measured=shown,
        faults=faults,
        samples=looked,
        least=facts.least(200, 10_000),
    )


def woken(facts: Facts) -> Row:
    """An idle worker is woken; one that polls starts a job half a poll later."""
    found = facts.picks.ms if facts.picks else {}
    medians = {pool: percentile(ms, 0.5) for pool, ms in found.items() if ms}
    shown = ", ".join(f"{pool} {ms:.0f} ms" for pool, ms in medians.items())
    faults = [
        f"{pool}: half of the jobs waited longer than {ms:.0f} ms" for pool, ms in medians.items() if ms > PICK_UP
    ]
    return Row(
        goal="idle pick-up p50 ≤ 40 ms",
        measured=shown or "nothing",
        faults=faults,
        samples=min((len(ms) for ms in found.values()), default=0),
        least=PICKS,
        speed=True,
    )


def done(facts: Facts) -> Row:
    """Each kind of fault that the plan has was really done."""
    counts = Counter((deed.kind, deed.role) for deed in facts.deeds)
    faults = [
        f"{role} {kind} was planned, and never done" for kind, role in sorted(facts.planned_deeds - counts.keys())
    ]
    shown = f"{sum(counts.values())} faults of {len(counts)} kinds"
    return Row(
        goal="each planned fault was done",
        measured=shown,
        faults=faults,
        samples=len(facts.planned_deeds),
        least=15,
    )


def special(facts: Facts) -> Iterator[Row]:
    """One row for each fault that concerns more than one process: all jobs that lived through it have ended."""
    planned = {kind for kind, _ in facts.planned_deeds}
    lives = [(case.notes.sent, case.last_seen, case) for case in facts.cases]
    for kind, what in SPECIAL.items():
        if kind not in planned:
            continue
        spans = facts.spans(kind)
        alive = [case for sent, seen, case in lives if spans.touch(sent, seen)]
        lost = [case for case in alive if not (case.job and case.job.finished) and not facts.unpromised(case)]
        number = sum(deed.kind == kind for deed in facts.deeds)
        yield Row(
            goal=f"nothing is lost by: {what}",
            measured=f"{number} times, {spans.seconds:.0f} s, {len(alive):,} jobs, {len(lost)} lost",
            faults=[f"{case.id} {case.name} is {case.job.status if case.job else 'gone'}" for case in lost],
            samples=len(alive),
            least=facts.least(5, 10),
        )
