"""The forking pool's engine: RQ's Worker with another way to claim, run and finish jobs.

RQ moves a job's id through lists and writes its state from three processes. This subclass claims in
one script, runs each job in a horse, renews the jobs' leases while the horses run, and lets only the
holder of a lease write the outcome.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

from redis.exceptions import RedisError
from rq import Queue
from rq.job import Job
from rq.worker.base import WorkerStatus

from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, client
from tandem.shared.store import leases, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import RQ_NAMES
from tandem.shared.store.leases import Lease
from tandem.sync_worker.engine.leases.claims import Claims
from tandem.sync_worker.engine.leases.lease_end import LeaseEnds
from tandem.sync_worker.engine.rq_worker import RqWorker
from tandem.sync_worker.engine.runs import Runs
from tandem.sync_worker.engine.wakeup import WAIT, Wakeup

log = logging.getLogger("tandem.sync_worker")

OUR_QUEUES = tuple(RQ_NAMES.values())
LAST_WRITES = timedelta(seconds=5)  # after the grace time
ERROR_PAUSE = 0.1  # seconds


class SyncWorker(RqWorker):
    """One process of the forking pool; it runs some jobs at a time, each in a process of its own.

    RQ, the job book, leases and wake-ups each have connections of their own: none waits for what another waits for.
    """

    def __init__(
        self, settings: Settings, *, lease_ends: LeaseEnds, name: str | None = None, rq_queues: Sequence[str] = ()
    ) -> None:
        served = [*OUR_QUEUES, *(queue for queue in rq_queues if queue not in OUR_QUEUES)]
        shown = client(settings.redis, timeout=LEASE_TIMEOUT, retries=1)
        super().__init__(served, connection=shown, name=name, serializer="json")
        self.settings = settings
        self._book = Book(client(settings.redis))
        self._leases = Book(client(settings.redis, timeout=LEASE_TIMEOUT, retries=0))
        with suppress(StoreUnavailable):
            self._show()  # the connection is there before a lease depends on it
        self._wakeup = Wakeup(client(settings.redis, timeout=LEASE_TIMEOUT, retries=0))
        self._claims = Claims(settings, worker=self.name, rq_queues=served[len(OUR_QUEUES) :])
        self._runs = Runs(
            settings, self._leases, worker=self.name, lease_ends=lease_ends, out_of_grace=self._out_of_grace
        )
        self._parent = os.getppid()
        self._deadline: float | None = None  # when a draining worker hands its jobs back
        self.told_to_stop = False
        self.broken = False  # by an error that nobody foresaw: RQ's loop logs it and ends as if all were well
        # RQ does it when the worker is known as ready already.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ has no types here

    def _show(self) -> None:
        """Show that the worker lives while it holds no lease."""
        self._leases.run(leases.renew("sync", [], worker=self.name))

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Claim the next job as soon as there is room for it: its lease and its queue, or None if it is time to end.

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
                if lease := self._claim():
                    return lease, self.queues[0]
                if self._runs:
                    idle_since = time.monotonic()
                elif timeout is None or (max_idle_time and time.monotonic() - idle_since > max_idle_time):
                    return None
                self._await_room_or_wakeup()
                outage.over()
            except (StoreUnavailable, RedisError) as error:
                self._pause(outage.pause(error))
        return None

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    def _claim(self) -> Lease | None:
        """Claim, if there is room and a process for the job."""
        if not (self._runs.has_room and self._runs.can_wait):
            return None
        if not self._runs:
            self._runs.stable.keep()
            return self._claims.claim(self._book)
        self._runs.stable.keep_beside()
        # An answer must not be waited for so long that the leases of others end.
        return self._claims.claim(self._leases, once=True) if self._runs.stable.has_one else None

    def _await_room_or_wakeup(self) -> None:
        """Wait until it is worth while to claim again."""
        if not self._runs:
            self.set_state(WorkerStatus.IDLE)
            self.heartbeat()
            self._show()
        running, until = len(self._runs), time.monotonic() + WAIT
        while not self._stop_requested and (left := until - time.monotonic()) > 0:
            if self._runs.has_room and self._runs.can_wait:
                self._wakeup.listen()
            self._attend(left, files=self._wakeup.files)
            woken = self._wakeup.heard()
            if woken and not self._runs.has_room:
                self._leases.run(queues.wake("sync"))  # another worker
            elif woken or len(self._runs) < running:
                return

    def _pause(self, seconds: float) -> None:
        """Ask Redis for no job meanwhile, and see to what runs."""
        until = time.monotonic() + seconds
        while not self._stop_requested and (left := until - time.monotonic()) > 0:
            self._attend(left)

    def _attend(self, seconds: float, *, files: Iterable[int] = ()) -> None:
        """See to what runs for some time: `seconds` at most, less if something happens or `files` can be read."""
        if self._runs.attend(seconds, files=files):
            self.heartbeat()
        if not self._stop_requested:
            self._runs.fork_ahead()

    def execute_job(self, job: Job | Lease, _queue: Queue) -> None:
        """Begin to run one lease; `dequeue_job_and_maintain_ttl` sees it to its end."""
        assert isinstance(job, Lease)  # noqa: S101 - what dequeue returned; RQ's signature says Job
        with self._noting():
            self.set_state(WorkerStatus.BUSY)
            self._runs.begin(job, claimed=self._claims.sent)

    def teardown(self) -> None:
        """See all jobs to their end, or hand them back when the grace time is over."""
        if self.broken:
            self._bound_the_end()
        self._stop_requested = True
        if unheard := self._claims.take_back():
            self._runs.unwritten.add(unheard)
        while self._runs:
            try:
                self._attend(WAIT)
            except RedisError as error:  # of one job's call, which is given up: the others have their grace
                log.error("what became of a job was not written: %s", error)  # noqa: TRY400 - where is known
                time.sleep(ERROR_PAUSE)
        self._runs.stable.close()
        super().teardown()  # type: ignore[no-untyped-call]  # RQ has no types here
        signal.setitimer(signal.ITIMER_REAL, 0)  # an end that goes on as it should is not to be cut short

    def _out_of_grace(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Note the wish; it is heeded between two claims, or when the grace time of the running jobs is over."""
        del frame
        if os.getppid() != self._parent:  # it was killed, and so are we
            self._end_at_once(1)
        log.info("%s: stopping", signal.Signals(signum).name)
        self.told_to_stop = self._stop_requested = True
        self._bound_the_end()

    def _bound_the_end(self) -> None:
        if self._deadline is None:
            grace = self.settings.grace
            self._deadline = time.monotonic() + grace.total_seconds()
            # A Redis that hangs keeps each command for long: it must not keep the worker.
            signal.signal(signal.SIGALRM, self._overdue)
            signal.setitimer(signal.ITIMER_REAL, (grace + LAST_WRITES).total_seconds())

    def _overdue(self, _signum: int, _frame: FrameType | None) -> None:
        log.warning("Redis does not answer; what this worker holds comes back when its lease is over")
        self._end_at_once(1 if self.broken else 0)

    def _end_at_once(self, code: int) -> NoReturn:
        """End the horses and everything they started, and this process, wherever it is; the clock sees to the jobs."""
        self._runs.stable.kill_all()
        os._exit(code)  # the horse that waits is gone with it
