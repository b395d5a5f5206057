"""What must be in time: recovery, the provider's limit, the wake-up of idle workers."""

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.judge.facts import Facts
from tests.chaos.row import Row

RECOVERY = 10.0  # seconds
PICK_UP = 40.0  # ms, on a busy machine; three LLM workers that poll twice a second take 125, two sync workers 333


def recovery(facts: Facts) -> Row:
    """What ran in a process that was killed or stopped starts elsewhere within 10 s, counted while Redis answers."""
    took = sorted(_recoveries(facts), reverse=True)
    if not took:
        return Row("recovery p99 ≤ 10 s", "nothing was hit", ["nothing was hit"])
    p99 = took[len(took) // 100][0]
    shown = f"p50 {took[len(took) // 2][0]:.1f} s, p99 {p99:.1f} s, max {took[0][0]:.1f} s of {len(took):,}"
    slow = [
        f"{job_id} ({cause}) started {seconds:.1f} s later" for seconds, job_id, cause in took if seconds > RECOVERY
    ]
    return Row("recovery p99 ≤ 10 s", shown, slow if p99 > RECOVERY else [], speed=True)


def _recoveries(facts: Facts) -> Iterator[tuple[float, str, str]]:
    struck = defaultdict[str, list[float]](list)
    for hit in facts.damage.hits:
        struck[hit.job].append(hit.at)
    for hit in facts.damage.hits:
        if hit.job not in facts.jobs:
            continue
        lost = facts.lost(hit.job, hit.at)
        if lost is None or any(hit.at < at < lost for at in struck[hit.job]):
            continue  # it lived on; what was hit again had gone on before, and renewed its lease
        start = next((at for at in facts.starts(hit.job) if at >= lost), None)
        if start:
            yield start - hit.at - facts.outages.within(hit.at, start), hit.job, hit.cause


def within_limit(facts: Facts) -> Row:
    """The provider sees no more requests than its limit, in any window of a minute, or of 10 s in a short run."""
    came = sorted(asked.came for asked in facts.asked.values())
    seconds = 60.0 if facts.plan.seconds > 120 else 10.0
    most = _most(came, seconds)
    share = facts.plan.rpm * seconds / 60
    # A worker that was stopped may send late what it was allowed before: a second's worth.
    allowed = 1.01 * share + facts.plan.rpm / 60
    shown = f"at most {most:,} requests in {seconds:g} s, {100 * most / share:.0f} % of the limit"
    return Row("the limit holds over all workers", shown, [shown] if most > allowed else [])


def _most(came: list[float], seconds: float) -> int:
    most, first = 0, 0
    for last, at in enumerate(came):
        while came[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def woken(facts: Facts) -> Row:
    """An idle worker is woken; one that polls starts a job half a poll later."""
    medians = {pool: sorted(ms)[len(ms) // 2] for pool, ms in facts.picks.ms.items() if ms}
    shown = ", ".join(f"{pool} {ms:.0f} ms" for pool, ms in medians.items())
    faults = [
        f"{pool}: half of the jobs waited longer than {ms:.0f} ms" for pool, ms in medians.items() if ms > PICK_UP
    ]
    return Row("idle pick-up p50 ≤ 40 ms", shown, faults, speed=True)
