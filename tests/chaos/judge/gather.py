"""Gathers what is known when a run is over: the logs outside, the submitters' notes, the chronicle, the job book."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from tandem.shared.store import commands, events
from tandem.shared.store.executor import Book
from tandem.shared.store.scripts import Call
from tests.chaos.faults.chronicle import Chronicle
from tests.chaos.faults.outages import Outages
from tests.chaos.judge import views
from tests.chaos.judge.evidence import Case, Facts, Ttl
from tests.chaos.judge.hits import strike
from tests.chaos.judge.spans import Spans
from tests.chaos.load.probes import Picks
from tests.chaos.load.submitters import Seen
from tests.chaos.outside import files, journal, mail_server, provider, webhook_receiver
from tests.chaos.outside.records import SyncRun
from tests.chaos.plan.model import SIZES, Plan
from tests.chaos.platform import ADMIN_KEY, CONCURRENCY, GRACE, Platform
from tests.support.keyspace.problems import problems

T = TypeVar("T")
STEP = 500
PATIENCE = 30.0  # seconds for an answer, when nothing is done to Redis any more
PROBE = ""  # the marker of what nobody planned

DUE = re.compile(r"\d{8}T\d{6}Z")  # in the id of a schedule's job


class Gatherer:
    """Reads everything, when all is quiet."""

    def __init__(self, platform: Platform, plan: Plan, seen: Seen) -> None:
        self._platform, self._plan, self._seen = platform, plan, seen
        self._redis = platform.redis(patience=PATIENCE)
        self._strays: list[str] = []

    def gather(self, *, chronicle: Chronicle, outages: Outages, picks: Picks, ended: bool) -> Facts:
        """Give the facts; `ended`: the driver had not to give up."""
        url = self._platform.urls[0]
        cases = self._cases()
        dues = self._dues()
        scheduled = self._outside(cases, picks, dues)
        listed = {job for job in views.listed(url, ADMIN_KEY) if not self._scheduled(job)} - picks.ids
        requests = provider.read(self._platform.provider_log)
        found = Facts(
            seed=self._plan.seed,
            began=self._seen.began,
            until=self._seen.began + self._plan.seconds,
            cases=list(cases.values()),
            refused=self._seen.refused,
            sent_again=self._seen.sent_again,
            ended=ended,
            gave_up=self._seen.gave_up,
            grace=GRACE,
            places=CONCURRENCY,
            deeds=chronicle.deeds,
            planned_deeds=self._plan.deeds,
            outages=Spans(outages.spans),
            slots={role.value: size for role, size in SIZES.items()},
            limits=dict(self._plan.limits),
            requests=sorted(requests, key=lambda request: request.came),
            views=views.shown(url, [case.id for case in cases.values()]),
            listed=frozenset(listed),
            strays=self._strays,
            schedules=dict.fromkeys(self._plan.schedules, dues),
            scheduled=scheduled,
            files_left=self._files_left(),
            picks=picks,
            keyspace=problems(self._redis),
        )
        strike(found.cases, found.deeds, found.unwritable)
        return found

    def _cases(self) -> dict[str, Case]:
        """Make the cases, by marker, with what the job book says of each."""
        planned = {submission.marker: submission for submission in [*self._plan.submissions, *self._plan.rush]}
        cases = {
            marker: Case(id=min(notes.ids), planned=planned[marker], notes=notes)
            for marker, notes in self._seen.notes.items()
        }
        ids = [case.id for case in cases.values()]
        jobs = self._ask([commands.fetch(job) for job in ids])
        streams = self._ask([events.read(job, after=0) for job in ids])
        for case, job, stream, ttl in zip(cases.values(), jobs, streams, self._ttls(ids), strict=True):
            case.job, case.events, case.ttl = job, stream, ttl
        return cases

    def _ttls(self, jobs: Sequence[str]) -> list[Ttl]:
        """Ask how long the records of these jobs still live."""
        found = []
        for job in jobs:
            left: Any = self._redis.pttl(f"tandem:job:{job}")
            found.append(Ttl(at=time.time(), seconds=left / 1000))
        return found

    def _outside(self, cases: dict[str, Case], picks: Picks, dues: Sequence[float]) -> list[SyncRun]:
        """Give each case what was seen of it outside; gives the runs of the schedules' jobs."""
        by_id = {job: case for case in cases.values() for job in case.notes.ids}
        runs = journal.read(self._platform.journal)
        scheduled = [run for run in runs if run.marker in self._plan.schedules and self._is_judged(run.job, dues)]
        others = [run for run in runs if run.marker not in self._plan.schedules]
        at: dict[str, Callable[[Any], float]] = {
            "requests": lambda work: float(work.came),
            "runs": lambda work: float(work.began),
        }
        works: dict[str, Iterable[Any]] = {
            "requests": provider.read(self._platform.provider_log),
            "runs": others,
            "mails": mail_server.read(self._platform.mail_log),
            "files": files.read(self._platform.files),
            "calls": webhook_receiver.read(self._platform.webhook_log),
        }
        for kind, found in works.items():
            for work in sorted(found, key=at.get(kind, lambda work: float(work.at))):
                marker = getattr(work, "marker", None)
                case = cases.get(marker) if marker else by_id.get(getattr(work, "job", ""))
                if case is not None:
                    getattr(case, kind).append(work)
                elif marker != PROBE and getattr(work, "job", "") not in picks.ids:
                    self._strays.append(f"{kind} that belong to no job: {work}")
        return scheduled

    def _dues(self) -> list[float]:
        """Give the full minutes between the load's begin and now, but not one that is just passing."""
        first, last = int(self._seen.began // 60) + 1, int((time.time() - 5) // 60)
        return [60.0 * minute for minute in range(first, last + 1)]

    def _is_judged(self, job: str, dues: Sequence[float]) -> bool:
        """Say whether a schedule's job was due in the time of the load: `name-20261125T191100Z`."""
        if not (found := DUE.search(job)):
            return True  # whatever it is, it is judged
        due = datetime.strptime(found[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return self._seen.began < due.timestamp() <= max(dues, default=0.0)

    def _scheduled(self, job: str) -> bool:
        return any(job.startswith(f"{name}-") for name in self._plan.schedules)

    def _files_left(self) -> list[str]:
        """Have the platform remove what nobody owns, and list what is there then."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Prefer": "wait=30"}
        body = {"older_than": "1s", "what": ["orphans"], "dry_run": False}
        with httpx.Client(base_url=self._platform.urls[0], headers=headers, timeout=40) as client:
            done = client.post("/v1/cleanup", json=body).raise_for_status().json()
        if done["status"] != "succeeded":
            self._strays.append(f"the clean-up of orphans is {done['status']}: {done.get('error')}")
        return files.names(self._platform.files)

    def _ask(self, calls: Sequence[Call[T]]) -> list[T]:
        """Run many calls in few round trips."""
        book, answers = Book(self._redis), list[T]()
        for start in range(0, len(calls), STEP):
            answers += book.run_all(calls[start : start + STEP])
        return answers
