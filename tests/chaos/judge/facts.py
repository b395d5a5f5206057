"""What is known when a run is over: the job book, and what was seen outside of the platform."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tandem.shared.jobs.events import Event, Kind
from tandem.shared.jobs.model import Job
from tandem.shared.store import commands, events
from tandem.shared.store.scripts import Call
from tests.chaos.faults.outages import Outages
from tests.chaos.faults.processes import Damage
from tests.chaos.load.probes import Picks
from tests.chaos.load.submitters import Accepted, Tally
from tests.chaos.outside import provider
from tests.chaos.outside.provider import Asked
from tests.chaos.plan.model import Plan
from tests.chaos.platform import ADMIN_KEY, Platform
from tests.support.keyspace.problems import problems

T = TypeVar("T")
STEP = 500


@dataclass(frozen=True)
class Facts:
    """Everything that the invariants are about."""

    plan: Plan
    tally: Tally
    damage: Damage
    outages: Outages
    picks: Picks
    jobs: dict[str, Job]  # accepted and in the book
    events: dict[str, list[Event]]
    listed: set[str]  # what the API lists
    asked: dict[int, Asked]  # the provider's log, by number
    mails: list[tuple[str, str]]  # job and Message-ID of each mail in the outbox
    files: dict[str, list[Path]]  # by job
    keyspace: list[str]

    @property
    def accepted(self) -> list[tuple[str, Accepted]]:
        """Each accepted job's id and what its submitter knows."""
        return [(min(kept.ids), kept) for kept in self.tally.accepted.values()]

    def starts(self, job_id: str) -> list[float]:
        """When the attempts of a job began."""
        return [at for at, status in self._statuses(job_id) if status == "running"]

    def lost(self, job_id: str, hit: float) -> float | None:
        """When the attempt that ran at the time `hit` was found dead; None if it lived on, as after a short stop."""
        ended = next((at for at, status in self._statuses(job_id) if at > hit and status != "running"), None)
        return ended if ended in self.crashes(job_id) else None

    def _statuses(self, job_id: str) -> list[tuple[float, str]]:
        found = [json.loads(event.data) for event in self.events[job_id] if event.kind is Kind.STATUS]
        return [(moment(data["at"]), data["status"]) for data in found]

    def crashes(self, job_id: str) -> list[float]:
        """When a job was found to have lost its process."""
        return [moment(entry["at"]) for entry in self.jobs[job_id].attempts if entry["type"] == "worker_crash"]


def moment(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def gather(platform: Platform, plan: Plan, tally: Tally, *, damage: Damage, outages: Outages, picks: Picks) -> Facts:
    """Read everything, when all is quiet."""
    client = platform.redis()
    ids = [min(kept.ids) for kept in tally.accepted.values()]
    jobs = _ask(client, [commands.fetch(job_id) for job_id in ids])
    streams = _ask(client, [events.read(job_id, after=0) for job_id in ids])
    return Facts(
        plan=plan,
        tally=tally,
        damage=damage,
        outages=outages,
        picks=picks,
        jobs={job_id: job for job_id, job in zip(ids, jobs, strict=True) if job},
        events=dict(zip(ids, streams, strict=True)),
        listed=set(_listed(platform.urls[0])) - picks.ids,
        asked={asked.number: asked for asked in provider.read(platform.provider_log)},
        mails=[_mail(path) for path in sorted((platform.run_dir / "outbox").glob("*.eml"))],
        files=_files(platform.run_dir / "files"),
        keyspace=problems(client),
    )


def _ask(client: Any, calls: Sequence[Call[T]]) -> list[T]:
    """Run many commands in few round trips."""
    answers: list[T] = []
    for start in range(0, len(calls), STEP):
        pipeline = client.pipeline(transaction=False)
        step = calls[start : start + STEP]
        for call in step:
            pipeline.execute_command(call.name, *call.args)
        answers += [call.parse(answer) for call, answer in zip(step, pipeline.execute(), strict=True)]
    return answers


def _listed(url: str) -> Iterable[str]:
    """List all jobs through the API."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30) as client:
        cursor: dict[str, str] = {}
        while True:
            page = client.get("/v1/jobs", params={"limit": "200", **cursor}).raise_for_status().json()
            yield from (job["id"] for job in page["jobs"])
            if not page["next"]:
                return
            cursor = {"cursor": page["next"]}


def _mail(path: Path) -> tuple[str, str]:
    mail = message_from_bytes(path.read_bytes(), policy=default)
    return str(mail["X-Tandem-Job"]), str(mail["Message-ID"])


def _files(folder: Path) -> dict[str, list[Path]]:
    """Sort the artefacts by their job: `owner/job/run/name`."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.relative_to(folder).parts[1]].append(path)
    return dict(found)
