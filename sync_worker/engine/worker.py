"""The forking pool's engine: RQ's Worker with another way to claim, run and finish jobs.

RQ moves a job's id through lists and writes its state from three processes. This subclass claims in
one script, forks a horse per job, renews the job's lease while the horse runs, and lets only the
holder of the lease write the outcome.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from redis.exceptions import RedisError
from rq import Queue
from rq.job import Job
from rq.worker.base import WorkerStatus

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError, StoreUnavailable
from tandem.shared.jobs.attempt import timed_out, unknown_task, unreadable
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, client
from tandem.shared.store import commands, leases, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import RQ_NAMES, Key
from tandem.shared.store.leases import Claim, Claimed, Lease
from tandem.shared.tasks.spec import RetryPolicy
from tandem.sync_worker.compat_rq.adopt import adopt_all
from tandem.sync_worker.engine.attempt import over_memory, ready
from tandem.sync_worker.engine.endings import Endings
from tandem.sync_worker.engine.horses.horse import Horse
from tandem.sync_worker.engine.horses.stable import Stable
from tandem.sync_worker.engine.lease_end import LeaseEnd
from tandem.sync_worker.engine.no_way_to_redis import no_way_to_redis
from tandem.sync_worker.engine.plan import Plan, is_known, plan_of
from tandem.sync_worker.engine.renewal import Renewal
from tandem.sync_worker.engine.rq_worker import RqWorker

log = logging.getLogger("tandem.sync_worker")

IDLE_POLL = 1  # seconds; a wake-up that got lost costs this much
OUR_QUEUES = tuple(RQ_NAMES.values())
LOOK_EVERY = timedelta(milliseconds=100)  # at a running horse
LAST_WRITES = timedelta(seconds=5)  # after the grace time
HORSES = 3  # for one attempt: one that dies before the job has begun is replaced


class SyncWorker(RqWorker):
    """One process of the forking pool; it runs one job at a time in a process of its own.

    RQ, the job book, leases and wake-ups each have connections of their own: none waits for what another waits for.
    """

    def __init__(
        self, settings: Settings, *, lease_end: LeaseEnd, name: str | None = None, rq_queues: Sequence[str] = ()
    ) -> None:
        queues = [*OUR_QUEUES, *(queue for queue in rq_queues if queue not in OUR_QUEUES)]
        shown = client(settings.redis, timeout=LEASE_TIMEOUT, retries=1)
        super().__init__(queues, connection=shown, name=name, serializer="json")
        self._rq_queues = queues[len(OUR_QUEUES) :]
        self.settings = settings
        self.book = Book(client(settings.redis))
        self._leases = Book(client(settings.redis, timeout=LEASE_TIMEOUT, retries=0))
        with suppress(StoreUnavailable):
            self._show()  # the connection is there before a lease depends on it
        self._wakeups = client(settings.redis)
        self._endings = Endings(settings.job_ttl)
        self._lease_end = lease_end
        self._claimed = 0.0  # when the last claim was sent
        self._unanswered: Claim | None = None  # the last claim
        self._horse: Horse | None = None
        work = partial(ready, settings, settings.redis, done=lease_end.set_done)
        self._stable = Stable(work, memory=settings.sync_memory)
        self._parent = os.getppid()
        self._deadline: float | None = None  # when a draining worker hands its job back
        # RQ does it when the worker is known as ready already.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ has no types here
        self.broken = False  # by an error that nobody foresaw: RQ's loop logs it and ends as if all were well

    def _show(self) -> None:
        """Show that the worker lives while it holds no lease."""
        self._leases.run(leases.renew("sync", [], worker=self.name))

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Claim the next job: its lease and its queue, or None if it is time to end.

        Args:
            timeout: None in burst mode: end when nothing waits.
            max_idle_time: end after so many idle seconds.

        """
        with self._noting():
            return self._dequeue(timeout, max_idle_time)

    def _dequeue(self, timeout: int | None, max_idle_time: int | None) -> Any:
        idle_since = time.monotonic()
        outage = Outage(log, "no jobs for now")
        while not self._stop_requested:
            try:
                self._stable.keep()
                if lease := self._claim():
                    return lease, self.queues[0]
                if timeout is None or (max_idle_time and time.monotonic() - idle_since > max_idle_time):
                    return None
                self.set_state(WorkerStatus.IDLE)
                self.heartbeat()
                self._show()
                self._wakeups.blpop([Key.WAKEUP + "sync"], timeout=IDLE_POLL)
                outage.over()
            except (StoreUnavailable, RedisError) as error:
                time.sleep(outage.pause(error))
        self._disclaim()
        return None

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    def _claim(self) -> Lease | None:
        while True:
            claimed = self._claim_once()
            adopt_all(self.book, self.settings, claimed)
            if claimed.leases or not claimed.unknown:
                return claimed.leases[0] if claimed.leases else None

    def _claim_once(self) -> Claimed:
        """Claim; what got no answer is asked again as it was."""
        self._unanswered = self._unanswered or leases.claim_sync(
            worker=self.name, ttl=self.settings.job_ttl, queues=self._rq_queues
        )
        self._claimed = time.monotonic()
        claimed = self.book.run(self._unanswered)
        self._unanswered = None
        return claimed

    def _disclaim(self) -> None:
        """Give back what the last claim took, if its answer never came."""
        if self._unanswered is None:
            return
        call = leases.disclaim("sync", self._unanswered, worker=self.name)
        try:
            self._leases.insist(call, unless=self._out_of_grace)
        except StoreUnavailable as error:
            log.warning("a claim got no answer; what it took comes back when its lease is over: %s", error)

    def execute_job(self, job: Job | Lease, _queue: Queue) -> None:
        """Run one lease in a horse and see it to its end."""
        with self._noting():
            self._execute(job)

    def _execute(self, lease: Job | Lease) -> None:
        assert isinstance(lease, Lease)  # noqa: S101 - what dequeue returned; RQ's signature says Job
        try:
            if call := self._run(lease):
                self._leases.insist(call)  # also after the grace: `_overdue` ends it
        except StoreUnavailable as error:
            log.warning("%s is left to the clock: %s", lease.id, error)

    def _run(self, lease: Lease) -> scripts.Call[bool] | None:
        """Run a lease. Says what to write in its horse's place, if anything."""
        if lease.problem:
            log.warning("%s: %s", lease.id, lease.problem)
            return self._endings.decided(lease, unreadable(lease.problem))
        if not is_known(lease):
            return self._unknown(lease)
        try:
            plan = plan_of(lease)
        except FinalError as error:
            return self._endings.gave_up(lease, RetryPolicy(), error)
        if unready := no_way_to_redis(self.settings):
            return self._endings.gave_up(lease, plan.retry, unready)
        renewal = Renewal(self._leases, lease, worker=self.name, claimed=self._claimed, lease_end=self._lease_end)
        try:
            return self._work(lease, plan, renewal)
        finally:
            self._lease_end.clear()

    def _work(self, lease: Lease, plan: Plan, renewal: Renewal) -> scripts.Call[bool] | None:
        """Run a lease in a horse, if it holds for long enough; the claim may have waited for its answer."""
        if renewal.due and (not renewal.renew() or renewal.over):
            return self._endings.handed_back(lease)
        self.set_state(WorkerStatus.BUSY)
        for _ in range(HORSES):
            self._horse = self._stable.take()
            self._horse.begin(lease)
            if ended := self._watch(lease, plan, self._horse, renewal):
                return ended
        return self._endings.crashed(lease)

    def _unknown(self, lease: Lease) -> scripts.Call[bool]:
        """Leave a task that this worker does not know to another one, unless workers have done so for long."""
        self.book.insist(commands.note_unknown_task(lease.id), unless=self._out_of_grace)
        age = self.book.insist(commands.unknown_task_age(lease.id), unless=self._out_of_grace)
        decision = unknown_task(lease.task, known_for=age)
        log.warning("%s: this worker does not know its task, %s", lease.id, decision)
        return self._endings.decided(lease, decision)

    def _watch(self, lease: Lease, plan: Plan, horse: Horse, renewal: Renewal) -> scripts.Call[bool] | None:
        """Wait for the horse, renew its lease, enforce its timeout; None if it died before the job had begun."""
        started = time.monotonic()
        while not horse.wait(LOOK_EVERY):
            if horse.begun and not self._stop_requested:
                self._stable.keep_beside()
            # Once that is done its outcome may wait for Redis: the limits are for the work.
            if not self._lease_end.done and (ended := self._overdrawn(lease, plan, horse, renewal, started)):
                return ended
            if self._out_of_grace():
                horse.kill()
                return self._endings.handed_back(lease)
            if renewal.due:
                if not renewal.renew():
                    horse.kill()
                    self._lease_end.clear()  # what follows may wait for Redis
                    self._say_whose(lease)
                    # Writes nothing; but who retries a cancelled job waits until its run is over.
                    return self._endings.handed_back(lease)
                if renewal.answered:
                    self.heartbeat()
        if horse.exit != "exited with 0":
            log.warning("the process of %s %s", lease.id, horse.exit)
        return self._endings.crashed(lease) if horse.begun else None

    def _overdrawn(
        self, lease: Lease, plan: Plan, horse: Horse, renewal: Renewal, started: float
    ) -> scripts.Call[bool] | None:
        """End a horse that works beyond its time, its memory or its lease; says what to write then."""
        if time.monotonic() - started > plan.timeout.total_seconds():
            horse.kill()
            return self._endings.gave_up(lease, plan.retry, timed_out(lease.task, plan.timeout))
        if used := horse.excess():
            horse.kill()
            return self._endings.gave_up(lease, plan.retry, over_memory(used, self.settings.sync_memory))
        if renewal.over:
            horse.kill()
            log.warning("%s: its lease could not be renewed, its work is stopped", lease.id)
            return self._endings.handed_back(lease)
        return None

    def _say_whose(self, lease: Lease) -> None:
        """Warn of a lease that was lost; a cancel is no fault, and whoever did it is in the gateway's log."""
        log.info("%s is not ours any more, its work is stopped", lease.id)
        cancelled = False
        with suppress(RedisError):  # a record that can't be read ends its own run alone
            cancelled = self._leases.insist(leases.ended_in_order(lease), unless=self._out_of_grace)
        if not cancelled:
            log.warning("%s: the lease was lost", lease.id)

    def _out_of_grace(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Note the wish; it is heeded between two jobs, or when the grace time of the running one is over."""
        del frame
        if os.getppid() != self._parent:  # it was killed, and so are we
            self._end_at_once(1)
        log.info("%s: stopping", signal.Signals(signum).name)
        self._stop_requested = True
        if self._deadline is None:
            grace = self.settings.grace
            self._deadline = time.monotonic() + grace.total_seconds()
            # A Redis that hangs keeps each command for long: it must not keep the worker.
            signal.signal(signal.SIGALRM, self._overdue)
            signal.setitimer(signal.ITIMER_REAL, (grace + LAST_WRITES).total_seconds())

    def _overdue(self, _signum: int, _frame: FrameType | None) -> None:
        log.warning("Redis does not answer; what this worker holds comes back when its lease is over")
        self._end_at_once(0)

    def _end_at_once(self, code: int) -> NoReturn:
        """End the horse and everything it started, and this process, wherever it is; the clock sees to the job."""
        with suppress(OSError):  # the worker was about to do the same
            if self._horse:
                self._horse.kill()
        os._exit(code)  # the horse that waits is gone with it

    def teardown(self) -> None:
        self._stable.close()
        super().teardown()  # type: ignore[no-untyped-call]  # RQ has no types here

    @property
    def told_to_stop(self) -> bool:
        return self._stop_requested
