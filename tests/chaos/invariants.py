"""What must be true when a run is over; each is a row of the table."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.events import Kind
from shared.job import Status
from tests.chaos.facts import Facts
from tests.chaos.provider import SAID

LLM_TASKS = frozenset({"chat", "score", "embed", "extract"})
INJECTED = re.compile(r"provider_\w+|rate_limited|invalid_answer")


@dataclass(frozen=True)
class Row:
    """One goal, and how it stands; `faults` says what is wrong, one line each."""

    goal: str
    measured: str
    faults: list[str]

    @property
    def met(self) -> bool:
        return not self.faults


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
        if seen and (seen["status"], seen["result"]) != (job.status, job.result):
            faults.append(f"{job_id} was {seen['status']} with {seen['result']}, and is {job.status} with {job.result}")
    watched = sum(kept.seen is not None for _, kept in facts.accepted)
    return Row("0 results written twice", f"{len(faults)} of {len(facts.jobs):,}, {watched:,} of them watched", faults)


def fenced_results(facts: Facts) -> Row:
    """A result is the provider's answer to this job, asked for after its last attempt began."""
    faults, checked = [], 0
    for job_id, kept in facts.accepted:
        job = facts.jobs.get(job_id)
        if not job or job.status is not Status.SUCCEEDED or job.task not in LLM_TASKS:
            continue
        checked += 1
        asked = facts.asked.get(_number(job.result))
        if asked is None or asked.marker != kept.planned.marker:
            faults.append(f"{job_id}: its result is no answer to it: {job.result}")
        elif job.started_at and asked.came < job.started_at.timestamp():
            early = job.started_at.timestamp() - asked.came
            faults.append(f"{job_id}: its result was asked for {early:.1f} s before its last attempt began")
    return Row("a result is of the run that held the lease", f"{len(faults)} of {checked:,} are not", faults)


def _number(result: Any) -> int:
    """Give the number that the provider gave to the request behind this result."""
    if vectors := result.get("embeddings"):
        return int(vectors[0][0])
    found = SAID.search(str(result))
    return int(found[1]) if found else -1


def one_per_key(facts: Facts) -> Row:
    """However often a request is sent with one key, there is one job; another body is refused."""
    faults = [f"{kept.planned.marker} became {sorted(kept.ids)}" for _, kept in facts.accepted if len(kept.ids) != 1]
    conflicts = [kept.conflict for _, kept in facts.accepted if kept.conflict is not None]
    faults += [f"another body with a used key was answered {status}" for status in conflicts if status != 422]
    sent = facts.tally
    again = f"{sent.repeats:,} repeats and {sent.broken + sent.turned_away:,} requests sent again"
    return Row("one job per Idempotency-Key", f"{again}: {len(faults)} doubled", faults)


def mails(facts: Facts) -> Row:
    """Each mail job that succeeded has one Message-ID in the outbox; a repeat needs a run that was hit."""
    copies = Counter(job_id for job_id, _ in facts.mails)
    ids: dict[str, set[str]] = {}
    for job_id, message_id in facts.mails:
        ids.setdefault(job_id, set()).add(message_id)
    sent = [job.id for job in facts.jobs.values() if job.task == "email" and job.status is Status.SUCCEEDED]
    faults = [f"{job_id} succeeded, and sent nothing" for job_id in sent if not copies[job_id]]
    faults += [f"{job_id}: {len(found)} Message-IDs" for job_id, found in ids.items() if len(found) > 1]
    faults += [f"a mail of {job_id}, which is no job" for job_id in copies if job_id not in facts.jobs]
    repeats = {job_id: n - 1 for job_id, n in copies.items() if n > 1}
    faults += [f"{job_id} sent its mail twice unharmed" for job_id in repeats if job_id not in facts.damage.hit]
    shown = f"{len(sent):,} mail jobs, {len(copies):,} Message-IDs, {sum(repeats.values())} repeats after a crash"
    return Row("a mail is sent once, or again with its Message-ID", shown, faults)


def artefacts(facts: Facts) -> Row:
    """Each report has its file, whole; what else is there was left by a run that was hit or stopped."""
    faults, reports = [], 0
    for job in facts.jobs.values():
        paths = facts.files.get(job.id, [])
        if job.file:
            reports += 1
            own = [path for path in paths if str(path).endswith(job.file.key)]
            if not own:
                faults.append(f"{job.id}: no file {job.file.key}")
            elif hashlib.sha256(own[0].read_bytes()).hexdigest() != job.file.sha256:
                faults.append(f"{job.id}: its file is not what its record says")
    faults += [f"files of {job_id}, which is no job" for job_id in facts.files if job_id not in facts.jobs]
    left = sum(len(paths) for paths in facts.files.values()) - reports
    return Row("each report has its one file", f"{reports:,} reports, {left} files left by dead runs", faults)


def recovery(facts: Facts) -> Row:
    """What ran in a process that was killed or stopped starts elsewhere within 10 s, counted while Redis answers."""
    took = sorted(_recoveries(facts), reverse=True)
    if not took:
        return Row("recovery p99 ≤ 10 s", "nothing was hit", ["nothing was hit"])
    p99 = took[len(took) // 100][0]
    shown = f"p50 {took[len(took) // 2][0]:.1f} s, p99 {p99:.1f} s, max {took[0][0]:.1f} s of {len(took):,}"
    slow = [f"{job_id} ({cause}) started {seconds:.1f} s later" for seconds, job_id, cause in took if seconds > 10]
    return Row("recovery p99 ≤ 10 s", shown, slow if p99 > 10 else [])


def _recoveries(facts: Facts) -> Iterator[tuple[float, str, str]]:
    for hit in facts.damage.hits:
        if hit.job not in facts.jobs:
            continue
        found = next((at for at in facts.crashes(hit.job) if at > hit.at), None)
        start = next((at for at in facts.starts(hit.job) if found and at >= found), None)
        if start:
            yield start - hit.at - facts.outages.within(hit.at, start), hit.job, hit.cause


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
    faults = [f"{pool}: half of the jobs waited longer than {ms:.0f} ms" for pool, ms in medians.items() if ms > 120]
    return Row("idle pick-up p50 ≤ 120 ms", shown, faults)


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
