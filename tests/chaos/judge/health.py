"""The platform itself: its key space, how soon it is awake, and that each planned fault was really done."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.judge.evidence import Facts, percentile
from tests.chaos.row import Row

# ms for this part of the jobs, on a busy machine; half of those that three LLM workers find by polling wait for 125 ms,
# of two sync workers for 333.
PICK_UP = {0.5: 40.0, 0.95: 100.0}
PICKS = 30  # a pool
DONE = 0.8  # of what is planned, of each kind
DAY = 86_400.0  # seconds
JUMP = 10.0  # seconds by which a clock may have been wrong
# What is done to more than one process.
SHARED = {
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
        if case.ttl.seconds < 0 and "webhook_url" in case.planned.query:
            continue  # it has to be told first, which the check of the key space looks at
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


def woken(facts: Facts) -> Iterator[Row]:
    """An idle worker is woken; one that polls starts a job half a poll later."""
    found = facts.picks.ms if facts.picks else {}
    for part, most in PICK_UP.items():
        waited = {pool: percentile(ms, part) for pool, ms in found.items() if ms}
        yield Row(
            goal=f"idle pick-up p{100 * part:.0f} ≤ {most:.0f} ms",
            measured=", ".join(f"{pool} {ms:.0f} ms" for pool, ms in waited.items()) or "nothing",
            faults=[f"{pool}: p{100 * part:.0f} is {ms:.0f} ms" for pool, ms in waited.items() if ms > most],
            samples=min((len(ms) for ms in found.values()), default=0),
            least=PICKS,
            speed=True,
        )


def done(facts: Facts) -> Row:
    """Each kind of fault was done about as often as the plan says; some find nobody to hit."""
    planned, counts = facts.planned_deeds, Counter((deed.kind, deed.role) for deed in facts.deeds)
    faults = [
        f"{role} {kind} was planned {number} times, and done {counts[kind, role]} times"
        for (kind, role), number in sorted(planned.items())
        if counts[kind, role] < max(1, int(DONE * number))
    ]
    found = sum((planned & counts).values())
    return Row(
        goal="each planned fault was done",
        measured=f"{found} of {sum(planned.values())} planned faults, of {len(planned)} kinds",
        faults=faults,
        samples=len(planned),
        least=15,
    )


def shared(facts: Facts) -> Row:
    """What hurt all processes at once met jobs under way, of which all other rows tell what became."""
    kinds = {kind for kind, _ in facts.planned_deeds if kind in SHARED}
    under_way = {kind: _under_way(facts, kind) for kind in SHARED if kind in kinds}
    times = Counter(deed.kind for deed in facts.deeds)
    said = [
        f"{SHARED[kind]}: {times[kind]} of {facts.spans(kind).seconds / max(1, times[kind]):.1f} s, {jobs:,} jobs"
        for kind, jobs in under_way.items()
    ]
    return Row(
        goal="what all share was hurt while jobs were under way",
        measured="; ".join(said) or "nothing",
        faults=[f"{SHARED[kind]}: no job was under way" for kind, jobs in under_way.items() if not jobs],
        samples=min(under_way.values(), default=0),
        least=facts.least(5, 10),
    )


def _under_way(facts: Facts, kind: str) -> int:
    """Count the jobs that had been submitted, and had not come to their end, when it was done."""
    spans = facts.spans(kind)
    return sum(spans.touch(case.notes.sent, case.last_seen) for case in facts.cases)
