"""What must be true of the jobs when a run is over; each is a row of the table."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Status
from tests.chaos.judge.effects import artefacts, fenced_results, mails
from tests.chaos.judge.facts import Facts
from tests.chaos.judge.timing import recovery, within_limit, woken
from tests.chaos.row import Row

INJECTED = re.compile(r"provider_\w+|rate_limited|invalid_answer")


def finished(facts: Facts) -> Row:
    """Everything accepted has ended, and the book holds nothing else."""
    ids = {job_id for job_id, _ in facts.accepted}
    faults = [f"{marker} was never accepted" for marker in facts.tally.refused]
    faults += [f"{job_id} has no record" for job_id in sorted(ids - facts.jobs.keys())]
    faults += [f"{job.id} is {job.status}" for job in facts.jobs.values() if not job.finished]
    faults += [f"{job_id} was not accepted, but is there" for job_id in sorted(facts.listed - ids)]
    faults += [f"{job_id} is not listed" for job_id in sorted(ids - facts.listed)]
    ended = sum(job.finished for job in facts.jobs.values())
    lost = len(ids) - len(facts.jobs)
    return Row("accepted = finished, 0 lost", f"{len(ids):,} accepted, {ended:,} finished, {lost} lost", faults)


def outcomes(facts: Facts) -> Row:
    """A job succeeds, unless its submitter or its own nature says otherwise."""
    faults = []
    for job_id, kept in facts.accepted:
        if not (job := facts.jobs.get(job_id)) or kept.planned.poison or job.status is Status.SUCCEEDED:
            continue
        why = {
            Status.CANCELLED: kept.cancelled,
            Status.EXPIRED: "expires_in" in kept.planned.query,
            Status.FAILED: job.attempt >= job.max_attempts and INJECTED.fullmatch((job.error or {}).get("type", "")),
        }
        if not why.get(job.status):
            faults.append(f"{job_id} ({job.task}) is {job.status}: {job.error}")
    counts = Counter(job.status.value for job in facts.jobs.values())
    shown = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    return Row("each ends as it should", shown, faults)


def _unlinked(result: Any) -> Any:
    """A result without the link to its file, which the gateway makes and the job book leaves empty."""
    if isinstance(result, dict) and isinstance(result.get("file"), dict):
        return {**result, "file": {**result["file"], "url": ""}}
    return result


def ended_once(facts: Facts) -> Row:
    """A job's events end once, with the last one, and what a submitter has seen as the end stays."""
    faults = []
    for job_id, kept in facts.accepted:
        if not (job := facts.jobs.get(job_id)):
            continue
        kinds = [event.kind for event in facts.events[job_id]]
        if (ends := kinds.count(Kind.END)) != 1 or kinds[-1] is not Kind.END:
            faults.append(f"{job_id} has {ends} ends, its last event is {kinds[-1] if kinds else 'none'}")
        seen = kept.seen
        if seen and (seen["status"], _unlinked(seen["result"])) != (job.status, _unlinked(job.result)):
            faults.append(f"{job_id} was {seen['status']} with {seen['result']}, and is {job.status} with {job.result}")
    watched = sum(kept.seen is not None for _, kept in facts.accepted)
    return Row("0 results written twice", f"{len(faults)} of {len(facts.jobs):,}, {watched:,} of them watched", faults)


def one_per_key(facts: Facts) -> Row:
    """However often a request is sent with one key, there is one job; another body is refused."""
    faults = [f"{kept.planned.marker} became {sorted(kept.ids)}" for _, kept in facts.accepted if len(kept.ids) != 1]
    conflicts = [kept.conflict for _, kept in facts.accepted if kept.conflict is not None]
    faults += [f"another body with a used key was answered {status}" for status in conflicts if status != 422]
    sent = facts.tally
    again = f"{sent.repeats:,} repeats and {sent.broken + sent.turned_away:,} requests sent again"
    return Row("one job per Idempotency-Key", f"{again}: {len(faults)} doubled", faults)


def poisons(facts: Facts) -> Row:
    """A job that kills its own process is fenced off, and no other one with it."""
    faults, planned, loops = [], 0, 0
    for job_id, kept in facts.accepted:
        if not (job := facts.jobs.get(job_id)):
            continue
        loop = job.status is Status.FAILED and (job.error or {}).get("type") == "crash_loop"
        planned, loops = planned + kept.planned.poison, loops + loop
        if loop != kept.planned.poison:
            faults.append(f"{job_id} ({job.task}) {'was fenced' if loop else 'was not fenced'}: {job.attempts}")
    shown = f"{planned} poison jobs, {loops} fenced, {len(faults)} wrongly or not"
    return Row("poison is fenced as crash_loop, nobody else", shown, faults)


def no_attempt_burnt(facts: Facts) -> Row:
    """An attempt is counted for each that failed and the last one; each crash was ours or the poison's doing."""
    faults = []
    for job_id, kept in facts.accepted:
        job = facts.jobs.get(job_id)
        if not job or kept.planned.poison:
            continue
        if job.status is Status.SUCCEEDED and job.attempt != len(job.attempts) + 1:
            faults.append(f"{job_id} is at attempt {job.attempt}, and {len(job.attempts)} failed")
        hits = [hit.at for hit in facts.damage.hits if hit.job == job_id]
        unexplained = len(facts.crashes(job_id)) - len(hits)
        if unexplained > 0:
            faults.append(f"{job_id} lost its lease {unexplained} times while its worker worked")
    restarts = sum(n for what, n in facts.damage.done.items() if what.endswith("worker SIGTERM"))
    return Row(
        "restarts burn no attempt, no lease is lost unharmed", f"{restarts} restarts, {len(faults)} burnt", faults
    )


def orderly(facts: Facts) -> Row:
    """Every key has an owner or a TTL, and all counters are true."""
    return Row("no key without an owner or a TTL", f"{len(facts.keyspace)} problems", facts.keyspace)


CHECKS: list[Callable[[Facts], Row]] = [
    finished,
    outcomes,
    ended_once,
    fenced_results,
    one_per_key,
    mails,
    artefacts,
    orderly,
    recovery,
    poisons,
    no_attempt_burnt,
    within_limit,
    woken,
]
