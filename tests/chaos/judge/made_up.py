"""Facts made up for the tests of the rows: a run of a few jobs in which all is well, to be spoilt."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Artefact, Job, Status
from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.judge.times import moment
from tests.chaos.outside.records import Call, Deed, Notes, Request, Shown, StoredFile, SyncRun, Told, Transaction
from tests.chaos.plan.model import Submission

AT = moment("2026-01-01T00:00:00Z")
LLM = "llm-worker-1-0001"
SYNC = "sync-worker-1-0002"
POOLS = {"chat": "llm", "async_trouble": "llm"}


def submission(number: int, task: str, **more: Any) -> Submission:
    """Plan one job; `query` and `model` as it needs them."""
    body = {"model": more.pop("model", "m"), **({"to": ["ada@x"], "text": "Hello"} if task == "email" else {})}
    return Submission(0.0, f"job-1-{number}.", task, body, more.pop("query", {}), **more)


def job(number: int, task: str, **more: Any) -> Job:
    """Make a record of a job that has succeeded in its first attempt, started at 1 s and ended at 2 s."""
    if "result" in more:
        more["result_json"] = json.dumps(more.pop("result")).encode()
    kept: dict[str, Any] = {"status": Status.SUCCEEDED, "attempt": 1, "priority": "normal", "max_attempts": 5, **more}
    began, ended = (datetime.fromtimestamp(AT + second, UTC) for second in (0.9, 2))
    times = {"created_at": datetime.fromtimestamp(AT, UTC), "started_at": began, "finished_at": ended}
    return Job(id=f"id-{number}", task=task, queue=POOLS.get(task, "sync"), owner="ann", **{**times, **kept})


def case(number: int, task: str, **more: Any) -> Case:
    """One job that went well: submitted at 0 s, at work at 1 s."""
    planned, id_ = more.pop("planned", None) or submission(number, task), f"id-{number}"
    found = Case(id=id_, planned=planned, notes=Notes(ids={id_}, sent=AT, accepted=AT + 0.1))
    found.events = [Event(1, Kind.STATUS, "{}"), Event(2, Kind.END, "")]
    if work := WORK.get(task):
        work(found, number)
    found.job = found.job or job(number, task)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def _chat(found: Case, number: int) -> None:
    found.requests = [request(number, number)]
    found.job = job(number, "chat", result={"text": f"answer {number} to {found.planned.marker}"})


def _report(found: Case, number: int) -> None:
    key = f"ann/{found.id}/1/x.pdf"
    found.files = [StoredFile(key=key, job=found.id, at=AT + 1, sha256="abc", said=found.planned.marker)]
    file = Artefact(key=key, name="x.pdf", media_type="application/pdf", bytes=3, sha256="abc")
    found.job = job(number, "report", file=file, result={"file": {"sha256": "abc", "url": ""}})


def _email(found: Case, number: int) -> None:
    found.mails = [mail(number)]
    found.job = job(number, "email", result={"message_id": f"<{found.id}>"})


def _journal(found: Case, number: int) -> None:
    found.runs = [run(number, token="a")]
    found.job = job(number, "journal", result={"done": "a"})


WORK: dict[str, Callable[[Case, int], None]] = {
    "chat": _chat,
    "report": _report,
    "email": _email,
    "journal": _journal,
}


def request(number: int, of: int, **more: Any) -> Request:
    """One request of a job: a good answer, taken at 1.2 s."""
    kept = {"asker": LLM, "model": "m", "came": AT + 1, "ended": AT + 1.2, "tokens": 10, "taken": True, **more}
    return Request(number=number, marker=f"job-1-{of}.", **kept)


def run(of: int, **more: Any) -> SyncRun:
    """One run of a journal task, from 1 s to 2 s."""
    kept = {"worker": SYNC, "pid": 9, "began": AT + 1, "ended": AT + 2, **more}
    return SyncRun(marker=f"job-1-{of}.", job=f"id-{of}", **kept)


def mail(of: int, **more: Any) -> Transaction:
    """One mail that was taken at 1 s."""
    kept = {"message_id": f"<id-{of}>", "to": ["ada@x"], "text": "Hello", "at": AT + 1, "answer": "250", **more}
    return Transaction(marker=f"job-1-{of}.", job=f"id-{of}", **kept)


def call(of: int, **more: Any) -> Call:
    """One webhook request that was taken at 2.1 s."""
    kept = {"id": f"msg_id-{of}-1", "event": "job.succeeded", "at": AT + 2.1, "answer": 204, **more}
    told = {"signed": True, "status": "succeeded", "result": {"text": f"answer {of} to job-1-{of}."}}
    return Call(job=f"id-{of}", **{**told, **kept})


def deed(kind: str, role: str = "llm worker", *, began: float, **more: Any) -> Deed:
    """Something done `began` seconds after the beginning, for a second."""
    target = {"llm worker": LLM, "sync worker": SYNC}.get(role, "")
    kept = {"target": target, "ended": AT + began + 1, **more}
    return Deed(kind=kind, role=role, began=AT + began, **kept)


def told(*ids: int, end: bool = True) -> list[Told]:
    """Give the events that a watcher got, the last one an `end`; the second half over another connection."""
    events = [
        Told(at=AT + 1, connection=1 + (place >= len(ids) / 2), id=id_, kind="status", data="{}")
        for place, id_ in enumerate(ids)
    ]
    last = events[-1]
    return (
        [*events[:-1], Told(at=last.at, connection=last.connection, id=last.id, kind="end", data="")] if end else events
    )


def shown(status: str, result: Any = None, *, at: float = 3) -> Shown:
    """Show a job to its submitter."""
    return Shown(at=AT + at, job={"status": status, "result": result})


def facts(*cases: Case, **more: Any) -> Facts:
    """Give the facts of a run of these jobs, all listed."""
    asked = sorted((one for kept in cases for one in kept.requests), key=lambda one: one.came)
    listed = frozenset(kept.id for kept in cases if kept.job)
    known: dict[str, Any] = {"began": AT, "until": AT + 30, "requests": asked, "listed": listed, **more}
    return Facts(seed=1, cases=cases, **known)
