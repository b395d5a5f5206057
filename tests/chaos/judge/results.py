"""Whose work a result is: of the last run, as those outside saw it; and it stays as it was first seen."""

import re
from collections.abc import Callable
from typing import Any

from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.row import Row

SAID = re.compile(r"answer (\d+) to (job-\d+-\d+\.)")


def llm_results(facts: Facts) -> Row:
    """A result is the provider's answer to the last request of the job's last run."""
    faults, checked = [], 0
    for case in facts.cases:
        if case.planned.poison or not case.llm or not case.succeeded or not case.job:
            continue
        checked += 1
        number = said(case.job.result)
        own = next((request for request in case.requests if request.number == number), None)
        if own is None:
            faults.append(f"{case.id} {case.name}: its result is no answer to it: {str(case.job.result)[:80]}")
            continue
        later = [request for request in case.requests if request.came > own.came and request.asker != own.asker]
        if not own.good:
            faults.append(f"{case.id} {case.name}: its result is of a request that was answered by a fault")
        elif later and not facts.unsettled(case) and not _late(case, own.asker, later[0].came):
            faults.append(f"{case.id} {case.name}: its result was asked for {later[0].came - own.came:.1f} s too early")
        elif case.job.started_at and own.came < case.job.started_at.timestamp() and not _jumped(facts, case):
            early = case.job.started_at.timestamp() - own.came
            faults.append(
                f"{case.id} {case.name}: its result was asked for {early:.1f} s before its last attempt began"
            )
    return Row(
        goal="an LLM result answers the last run's request",
        measured=f"{len(faults)} of {checked:,} do not",
        faults=faults,
        samples=checked,
        least=facts.least(100, 5_000),
    )


def _late(case: Case, holder: str, later: float) -> bool:
    """Say whether the later request is one that a worker sent when it went on after a stop: its lease was over.

    The holder of the lease had asked before that worker went on.
    """
    stops = [hit.deed for hit in case.hits if hit.deed.kind == "SIGSTOP" and hit.deed.target != holder]
    return any(deed.ended is not None and 0 <= later - deed.ended <= 1 for deed in stops)


def _jumped(facts: Facts, case: Case) -> bool:
    return facts.jumps.touch(case.notes.sent, case.last_seen + 1)


def said(result: Any) -> int:
    """Give the number that the provider gave to the request behind a result; -1 if it names none."""
    if isinstance(result, dict) and (vectors := result.get("embeddings")):
        return int(vectors[0][0])
    found = SAID.search(str(result))
    return int(found[1]) if found else -1


def sync_results(facts: Facts) -> Row:
    """A sync result is what was made outside: the file, the mail, the last run's token."""
    checks: dict[str, Callable[[Case], str]] = {"report": _file, "email": _mail, "journal": _token}
    faults = []
    counts = dict.fromkeys(checks, 0)
    for case in facts.cases:
        if not case.succeeded or not (check := checks.get(case.planned.task)):
            continue
        counts[case.planned.task] += 1
        if why := check(case):
            faults.append(f"{case.id} {case.name}: {why}")
    shown = f"{counts['report']:,} files, {counts['email']:,} mails, {counts['journal']:,} tokens"
    return Row(
        goal="a sync result is what was made outside",
        measured=f"{shown}; {len(faults)} are not",
        faults=faults,
        samples=min(counts.values()),
        least=facts.least(5, 100),
    )


def _file(case: Case) -> str:
    assert case.job is not None
    record, shown = case.job.file, (case.job.result or {}).get("file") or {}
    if record is None:
        return "it has no file"
    stored = next((file for file in case.files if file.key == record.key), None)
    if stored is None:
        return f"there is no file {record.key}"
    if not stored.sha256 == record.sha256 == shown.get("sha256"):
        return "its file has another SHA-256"
    return "" if case.planned.marker in stored.said else f"its file says {stored.said[:80]!r}"


def _mail(case: Case) -> str:
    assert case.job is not None
    said = (case.job.result or {}).get("message_id")
    wanted = case.planned.body
    for mail in case.mails:
        if (mail.to, mail.text) != (wanted["to"], wanted["text"]):
            return f"a mail to {mail.to} says {mail.text[:80]!r}"
    taken = {mail.message_id for mail in case.mails if mail.taken}
    return "" if said in taken else f"its Message-ID {said} is not in the mail server's log: {sorted(taken)}"


def _token(case: Case) -> str:
    """The last run that ended has written it, unless that one had lost its lease."""
    assert case.job is not None
    said = (case.job.result or {}).get("done")
    ended = [run for run in case.runs if run.ended is not None]
    own = next((run for run in ended if run.token == said), None)
    if own is None:
        return f"its token {said} is of no run that ended"
    return "" if own is max(ended, key=lambda run: run.began) else "its result is of an earlier run"


def stays(facts: Facts) -> Row:
    """The end that a submitter has seen is what the book says at last."""
    faults, seen, apart = [], 0, 0
    for case in facts.cases:
        if not (first := case.final) or not (job := case.job):
            continue
        if facts.unsettled(case):
            apart += 1
            continue
        if case.retried and first.at < (case.notes.retry.answered if case.notes.retry else 0):
            continue  # it was let run again
        seen += 1
        was, now = first.job, (str(job.status), unlinked(job.result))
        if (was["status"], unlinked(was.get("result"))) != now:
            faults.append(f"{case.id} {case.name} was {was['status']} with {was.get('result')}, and is {now}")
    shown = f"{seen:,} watched, {len(faults)} changed"
    return Row(
        goal="a finished job stays",
        measured=shown,
        faults=faults,
        samples=seen,
        least=facts.least(8, 400),
        apart=f"{apart} of a second that Redis lost" if apart else "",
    )


def unlinked(result: Any) -> Any:
    """Give a result without the link to its file, which the gateway makes and the job book leaves empty."""
    if isinstance(result, dict) and isinstance(result.get("file"), dict):
        return {**result, "file": {**result["file"], "url": ""}}
    return result
