"""The jobs that a worker runs at once: each in a horse, within its limits, until its outcome is written."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from redis.exceptions import RedisError

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, StoreUnavailable
from tandem.shared.jobs.attempt import unknown_task, unreadable
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import Call
from tandem.shared.tasks.spec import RetryPolicy
from tandem.sync_worker.engine.attempt import attempt
from tandem.sync_worker.engine.endings import Endings
from tandem.sync_worker.engine.horses.listening import listen
from tandem.sync_worker.engine.horses.stable import Stable
from tandem.sync_worker.engine.leases.lease_end import LeaseEnds
from tandem.sync_worker.engine.leases.renewal import Renewal
from tandem.sync_worker.engine.leases.unwritten import Unwritten
from tandem.sync_worker.engine.no_way_to_redis import no_way_to_redis
from tandem.sync_worker.engine.plan import Plan, is_known, plan_of
from tandem.sync_worker.engine.run import LOOK_EVERY, Run

log = logging.getLogger("tandem.sync_worker")


class Runs:
    """At most `settings.sync_concurrency` jobs at once. `book` is the one for leases: it waits a second for an answer.

    `out_of_grace` says whether what runs has to be handed back.
    """

    def __init__(
        self,
        settings: Settings,
        book: Book,
        *,
        worker: str,
        lease_ends: LeaseEnds,
        out_of_grace: Callable[[], bool],
    ) -> None:
        self._settings, self._book, self._out_of_grace = settings, book, out_of_grace
        self._endings = Endings(settings.job_ttl)
        self._renewal = Renewal(book, worker=worker)
        self._places = [lease_ends[number] for number in range(settings.sync_concurrency)]
        self.unwritten = Unwritten(book)
        self._runs: list[Run] = []
        theirs = Book(client(settings.redis))  # made once; each horse opens a connection of its own

        def work(lease: Lease, place: int) -> None:
            attempt(settings, theirs, lease, done=lease_ends[place].set_done)

        self.stable = Stable(work, memory=settings.sync_memory)

    def __len__(self) -> int:
        """How many jobs run, or wait for the word of how they ended to be written."""
        return len(self._runs) + len(self.unwritten)

    @property
    def has_room(self) -> bool:
        return len(self) < len(self._places)

    @property
    def can_wait(self) -> bool:
        """Whether an answer of Redis may be waited for: no lease ends meanwhile."""
        return self._renewal.can_wait

    def begin(self, lease: Lease, *, claimed: float) -> None:
        """Run a lease, or have written why not. `claimed` is when its claim was sent."""
        if ended := self._begin(lease, claimed):
            self.unwritten.add(ended)

    def _begin(self, lease: Lease, claimed: float) -> Call[bool] | None:
        plan = self._plan(lease)
        if not isinstance(plan, Plan):
            return plan
        busy = {run.kept.place for run in self._runs}
        place = next(place for place in self._places if place not in busy)
        kept = self._renewal.keep(lease, place, claimed=claimed)
        if self._renewal.due:  # the claim may have waited for its answer
            self._renewal.renew()
        if kept.lost or kept.over:
            self._renewal.drop(kept)
            return self._endings.handed_back(lease)
        try:
            self._runs.append(Run(kept, plan, self.stable.take()))
        except OSError:  # there is no room for another process, which must not hurt the others
            self._renewal.drop(kept)
            return self._endings.handed_back(lease)
        return None

    def _plan(self, lease: Lease) -> Plan | Call[bool]:
        """Say how it is to be run, or how it ends without that."""
        if lease.problem:
            log.warning("%s: %s", lease.id, lease.problem)
            return self._endings.decided(lease, unreadable(lease.problem))
        if not is_known(lease):
            return self._unknown(lease)
        try:
            plan = plan_of(lease)
        except FinalError as error:
            return self._endings.gave_up(lease, RetryPolicy(), error)
        if unready := no_way_to_redis(self._settings):
            return self._endings.gave_up(lease, plan.retry, unready)
        return plan

    def _unknown(self, lease: Lease) -> Call[bool]:
        """Leave a task that this worker does not know to another one, unless workers have done so for long."""
        try:
            self._book.run(commands.note_unknown_task(lease.id))
            age = self._book.run(commands.unknown_task_age(lease.id))
        except StoreUnavailable:
            return self._endings.handed_back(lease)
        decision = unknown_task(lease.task, known_for=age)
        log.warning("%s: this worker does not know its task, %s", lease.id, decision)
        return self._endings.decided(lease, decision)

    def attend(self, seconds: float, *, files: Iterable[int] = ()) -> bool:
        """See to what runs, after `seconds` at most, or when one of `files` can be read.

        Says whether leases were renewed.
        """
        if self._runs or self.unwritten:
            seconds = min(seconds, LOOK_EVERY.total_seconds())
        listen([*(run.horse for run in self._runs), *self.stable.leaving], seconds, files=files)
        for run in list(self._runs):
            self._look_at(run)
        renewed = self._renewal.due and self._renewal.renew()
        if self.can_wait:
            self.unwritten.write()
        self.stable.see_off()
        return renewed

    def fork_ahead(self) -> None:
        """Fork the next horse, unless that would hold up a job that is to begin."""
        if all(run.horse.begun for run in self._runs):
            self.stable.keep_beside()

    def _look_at(self, run: Run) -> None:
        if run.horse.written:
            self._over(run)
        elif run.horse.ended:
            self._ended(run)
        elif error := run.overdrawn(self._settings.sync_memory):
            self._stop(run, self._endings.gave_up(run.lease, run.plan.retry, error))
        elif run.lease_is_over:
            log.warning("%s: its lease could not be renewed, its work is stopped", run.lease.id)
            self._stop(run, self._endings.handed_back(run.lease))
        elif run.kept.lost:
            self._lost(run)
        elif self._out_of_grace():
            self._stop(run, self._endings.handed_back(run.lease))

    def _over(self, run: Run) -> None:
        """Its outcome is written. Its process ends beside the next job."""
        self._forget(run)
        self.stable.release(run.horse)

    def _ended(self, run: Run) -> None:
        """Its process has ended, and may have written an outcome without saying so."""
        self.stable.kill(run.horse)
        if run.horse.written:
            self._forget(run)
            return
        if run.horse.exit != "exited with 0":
            log.warning("the process of %s %s", run.lease.id, run.horse.exit)
        if run.can_begin_anew and self._begins_anew(run):
            return
        self._forget(run)
        ended = self._endings.handed_back if run.can_begin_anew else self._endings.crashed
        self.unwritten.add(ended(run.lease))

    def _begins_anew(self, run: Run) -> bool:
        try:
            run.begin_anew(self.stable.take())
        except OSError:  # as above
            return False
        return True

    def _lost(self, run: Run) -> None:
        """Stop it. What it writes then changes nothing; but who retries a cancelled job waits until its run is over."""
        ended = self._endings.handed_back(run.lease)
        self._stop(run, ended)
        self._say_whose(run.lease)

    def _stop(self, run: Run, ended: Call[bool]) -> None:
        self.stable.kill(run.horse)
        self._forget(run)
        # It may have been done just now: then that counts, and this is a no-op.
        self.unwritten.add(ended)

    def _forget(self, run: Run) -> None:
        self._runs.remove(run)
        self._renewal.drop(run.kept)

    def _say_whose(self, lease: Lease) -> None:
        """Warn of a lease that was lost; a cancel is no fault, and whoever did it is in the gateway's log."""
        log.info("%s is not ours any more, its work is stopped", lease.id)
        cancelled = False
        with suppress(RedisError, StoreUnavailable):  # a record that can't be read ends its own run alone
            cancelled = self._book.run(leases.ended_in_order(lease))
        if not cancelled:
            log.warning("%s: the lease was lost", lease.id)
