"""Workers that claim and run jobs under limits, simulated: minutes of traffic in seconds."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from tandem.shared.store import leases
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.limits.operations import operate
from tandem.shared.tasks.spec import Priority
from tests.support.limits.claims import Models, Work, claim, store, succeeded
from tests.support.limits.limiter_script import SECOND, START, Clocked

IDLE = SECOND // 2  # a worker looks again, whatever happens
BEAT = SECOND  # it renews its leases


@dataclass(frozen=True)
class Started:
    """A request that was sent."""

    at: int
    tokens: int
    job: str
    lane: str
    priority: Priority


@dataclass(eq=False)
class Worker:
    name: str
    places: int
    held: dict[str, Lease] = field(default_factory=dict)
    due: int = 0  # its next look, if nobody wakes it; 0: none, as it has no place
    alive: bool = True

    @property
    def free(self) -> int:
        return self.places - len(self.held)


class Traffic:
    """A few workers, and all that they do in Redis, at times of the simulation's own."""

    def __init__(self, clocked: Clocked, limited: Models, *, seed: int, workers: int = 3, places: int = 100) -> None:
        self.clocked, self.limited, self.random = clocked, limited, random.Random(seed)  # noqa: S311
        self.workers = [Worker(f"w{n}", places) for n in range(workers)]
        self.started: list[Started] = []
        self.claims = 0
        self.most_at_once = 0
        self._work: dict[str, Work] = {}
        self._ends: dict[str, int] = {}  # of requests that run, by ticket
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._away: list[tuple[int, int]] = []
        self._late = 0.0

    def put(self, *work: Work) -> list[str]:
        """Store jobs now; gives their ids."""
        jobs = [one.job() for one in work]
        self._work |= {job.id: one for job, one in zip(jobs, work, strict=True)}
        self.clocked.call_all(store(jobs))
        self._ring()
        return [job.id for job in jobs]

    def at(self, time: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), what))

    def run(
        self,
        *,
        seconds: float,
        took: Callable[[random.Random], float],
        late: float = 0.0,
        away: Sequence[tuple[int, int]] = (),
        dying: Sequence[int] = (),
    ) -> None:
        """`late`: so many seconds at most each look comes too late; `away`: seconds in which nobody reaches Redis;
        `dying`: seconds at which a worker dies, and another one comes.
        """
        self._late, self._took = late, took
        self._away = [(START + since * SECOND, START + until * SECOND) for since, until in away]
        for worker in self.workers:
            self._begin(worker)
        for second in dying:
            self.at(START + second * SECOND, self._die)
        end = self.clocked.now + int(seconds * SECOND)
        while self._events and self._events[0][0] < end:
            time, _, what = heapq.heappop(self._events)
            if back := next((until for since, until in self._away if since <= time < until), None):
                self.at(back, what)
                continue
            self.clocked.now = time
            what()
        self.clocked.now = end
        self.started = sorted((one for one in self.started if one.at < end), key=lambda one: one.at)

    def _begin(self, worker: Worker) -> None:
        self._look(worker, self.clocked.now)
        self.at(self.clocked.now + BEAT, lambda: self._beat(worker))

    def _beat(self, worker: Worker) -> None:
        if worker.alive:
            self.clocked.call(leases.renew("llm", list(worker.held.values()), worker=worker.name))
            self.at(self.clocked.now + BEAT, lambda: self._beat(worker))

    def _die(self) -> None:
        dead = self.random.choice(self.workers)
        dead.alive = False
        self.workers.remove(dead)
        self.workers.append(Worker(f"{dead.name}'", dead.places))
        self._begin(self.workers[-1])

    def _look(self, worker: Worker, due: int) -> None:
        """Let a worker look then, or as late as it is."""
        due += int(self.random.random() * self._late * SECOND)
        worker.due = due

        def look() -> None:
            if worker.alive and worker.due == due:
                self._claim(worker)

        self.at(due, look)

    def _ring(self) -> None:
        """Wake those who wait, as many as there are wake-ups."""
        idle = [worker for worker in self.workers if worker.free > 0 and worker.due > self.clocked.now]
        self.random.shuffle(idle)
        for worker in idle:
            if self.clocked.client.lpop(Key.WAKEUP + "llm") is None:
                break
            self._look(worker, self.clocked.now)

    def _claim(self, worker: Worker) -> None:
        self.claims += 1
        free = worker.free
        claimed = self.clocked.call(claim(free, self.limited, worker.name))
        for lease in claimed.leases:
            worker.held[lease.id] = lease
            self._start(worker, lease)
        if len(claimed.leases) == free:
            worker.due = 0
            if worker.free > 0:
                self._look(worker, self.clocked.now)
            return
        wait = IDLE
        if claimed.next_due is not None:
            wait = min(wait, max(1000, claimed.next_due // timedelta(microseconds=1)))
        self._look(worker, self.clocked.now + wait)

    def _start(self, worker: Worker, lease: Lease) -> None:
        work = self._work[lease.id]
        at = self.clocked.now + int(lease.delay * 1000)
        end = at + int(self._took(self.random) * SECOND)
        self.started.append(Started(at, work.used, lease.id, work.model, work.priority))
        ticket = f"{lease.id}:{lease.token}:0"
        self._ends[ticket] = end
        self.most_at_once = max(self.most_at_once, len(self._ends))
        self.at(end, lambda: self._end(worker, lease, ticket, work))

    def _end(self, worker: Worker, lease: Lease, ticket: str, work: Work) -> None:
        self._ends.pop(ticket, None)
        if not worker.alive:
            return
        settled: dict[str, Any] = {"op": "settle", "ticket": ticket, "tokens": work.used, "answered": True}
        self.clocked.call_all([operate([settled]), succeeded(lease, work.used)])
        had_room = worker.free > 0
        worker.held.pop(lease.id, None)
        if not had_room:
            self._look(worker, self.clocked.now)
        self._ring()

    def most_in_a_minute(self, weight: Callable[[int], int] = lambda _: 1) -> int:
        """The fullest window of 60 s, by what `weight` makes of the tokens of a request."""
        most = inside = first = 0
        for one in self.started:
            inside += weight(one.tokens)
            while self.started[first].at <= one.at - 60 * SECOND:
                inside -= weight(self.started[first].tokens)
                first += 1
            most = max(most, inside)
        return most

    def starts(self, since: float, until: float, lane: str | None = None) -> int:
        """How many started in those seconds."""
        first, last = START + since * SECOND, START + until * SECOND
        return len([one for one in self.started if first <= one.at < last and lane in {None, one.lane}])
