"""Schedules: tasks that the clock submits at times in cron's syntax.

Any number of clocks may run: a job's id is made of its schedule's name and its due time, so the first one
stores it and the others find it there.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from tandem.shared.config.file import Schedule
from tandem.shared.config.settings import Settings
from tandem.shared.dispatch import submission
from tandem.shared.jobs.submission import Admission, Refused
from tandem.shared.limits.lanes import Lanes
from tandem.shared.maintenance.faults import Faults
from tandem.shared.store import commands, maintenance
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.registry import Catalog

log = logging.getLogger("tandem.clock")

ON_TIME = timedelta(minutes=1)  # later than this a due time counts as missed
OWNER = "schedule"
CLEANUP = Schedule(
    name="daily-cleanup", task="cleanup", cron="17 3 * * *", input={"older_than": "7d", "what": ["files", "orphans"]}
)


class Schedules:
    """Submits what is due, each due time once."""

    def __init__(self, settings: Settings, book: Book, catalog: Catalog, faults: Faults) -> None:
        self._book = book
        self._faults = faults
        self._catalog = catalog
        self._admission = Admission(queue_max=settings.queue_max, max_age=settings.max_age)
        self._lanes = Lanes.of(settings)
        self._schedules = with_cleanup(settings.config.schedules if settings.config else (), settings.job_ttl)

    def step(self) -> int:
        """Submit all that is due now; gives how many jobs that were."""
        if not self._schedules:
            return 0
        now = self._book.run(commands.now())
        return sum(self._serve_alone(schedule, now) for schedule in self._schedules)

    def _serve_alone(self, schedule: Schedule, now: datetime) -> bool:
        """Serve one schedule; what goes wrong with it keeps no other from being served."""
        return bool(self._faults.guarded(f"schedule {schedule.name}", lambda: self._serve(schedule, now)))

    def _serve(self, schedule: Schedule, now: datetime) -> bool:
        last = self._book.run(maintenance.last_served(schedule.name))
        if last is None:  # seen for the first time: what lies before is not missed
            self._book.run(maintenance.serve_until(schedule.name, now))
            return False
        due = latest(schedule, after=last, until=now)
        if due is None:
            return False
        fired = (schedule.missed == "once" or now - due <= ON_TIME) and self._submit(schedule, due)
        if fired is None:
            return False  # the queue is full: again at the next step
        self._book.run(maintenance.serve_until(schedule.name, due))
        return fired

    def _submit(self, schedule: Schedule, due: datetime) -> bool | None:
        spec = self._catalog[schedule.task]
        given = spec.input.model_validate(schedule.input)
        job = submission(
            spec,
            given,
            owner=schedule.owner or OWNER,
            request_id=f"schedule-{schedule.name}",
            job_id=f"{schedule.name}-{due.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            lane=self._lanes.of_job(spec, given),
        )
        job = replace(job, apart=self._lanes.has_limit(spec))
        if isinstance(self._book.run(store_job(job, self._admission)), Refused):
            log.warning("schedule %s waits: the %s queue is full", schedule.name, spec.queue)
            return None
        log.info("schedule %s: %s", schedule.name, job.id)
        return True


def with_cleanup(schedules: Sequence[Schedule], job_ttl: timedelta) -> list[Schedule]:
    """Add the daily clean-up, unless the file has a schedule for that task."""
    if any(schedule.task == CLEANUP.task for schedule in schedules):
        return list(schedules)
    older = {**CLEANUP.input, "older_than": f"{max(job_ttl, timedelta(hours=1)).total_seconds():g}s"}
    return [*schedules, CLEANUP.model_copy(update={"input": older})]


def latest(schedule: Schedule, *, after: datetime, until: datetime) -> datetime | None:
    """Find the last due time in (after, until]; earlier ones in it were missed and are not made up for."""
    found = None
    start = max(after, until - timedelta(days=366 * 4))
    for due in CronSim(schedule.cron, start.astimezone(schedule.zone)):
        if due > until:
            break
        if due > start:  # in the hour that comes twice, cronsim looks back to the first of the two
            found = due
    return found
