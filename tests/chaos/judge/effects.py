"""What the jobs did, counted outside of the platform: by the provider, the mail server and the files."""

import hashlib
from collections import Counter
from typing import Any

from tandem.shared.jobs.model import Status
from tests.chaos.judge.facts import Facts
from tests.chaos.outside.provider import SAID
from tests.chaos.row import Row

LLM_TASKS = frozenset({"chat", "score", "embed", "extract"})


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
