"""The job book as a state machine: random transitions on a real server."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tandem.shared.jobs.model import FINAL, TRANSITIONS, Status, Usage, at
from tandem.shared.jobs.retry import Decision, Fail, HandBack, RetryIn
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import ARQ_QUEUES, RQ_NAMES, Key
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.spec import Priority, Queue
from tests.support.jobs import FAILURE, NOTHING, TASKS, TTL, claim, counts, expire_lease, get, put, succeed, tick
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.fairness import told
from tests.support.processes import until

MANY = 1000


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order, the book stays true."""

    url = ""

    @initialize(queue=st.sampled_from(list(Queue)))
    def open(self, queue: Queue) -> None:
        self.book = Book(client(self.url))
        self.book.client.flushall()
        self.queue = queue.value
        self.leases: list[Lease] = []
        self.last: dict[str, str] = {}
        self.most = [MANY]

    def teardown(self) -> None:
        if hasattr(self, "book"):
            assert_keyspace(self.book.client)
            self.book.client.close()

    @rule(priority=st.sampled_from([*Priority]), delayed=st.booleans(), expiring=st.booleans())
    def submit(self, priority: str, *, delayed: bool, expiring: bool) -> None:
        delay = timedelta(hours=1) if delayed else None
        expires_in = timedelta(milliseconds=1) if expiring else None
        job_id = put(self.book, TASKS[self.queue], priority=priority, delay=delay, expires_in=expires_in)
        self.last[job_id] = Status.SCHEDULED if delayed else Status.QUEUED
        if expiring:  # whether a claim comes in time must not depend on the machine: Hypothesis repeats a run
            until(lambda: (end := self._expires_at(job_id)) is None or self.book.run(commands.now()) > end)

    def _expires_at(self, job_id: str) -> datetime | None:
        found: Any = self.book.client.hget(f"tandem:job:{job_id}", "expires_at")
        return at(found.decode()) if found else None

    def _some(self, data: st.DataObject) -> str:
        """Choose by place and not by id: ids are others each time."""
        return list(self.last)[data.draw(st.integers(0, len(self.last) - 1))]

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = self._some(data)
        before = get(self.book, job_id).status
        assert self.book.run(commands.cancel(job_id, ttl=TTL)) is before
        assert get(self.book, job_id).status is (before if before in FINAL else Status.CANCELLED)

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id = self._some(data)
        before = get(self.book, job_id).status
        assert self.book.run(commands.retry(job_id)) is before
        after = get(self.book, job_id).status
        if Status.QUEUED in TRANSITIONS[before] and before in FINAL:
            waits = before is Status.CANCELLED and after is Status.SCHEDULED  # until the cancelled run has ended
            self.last[job_id] = Status.SCHEDULED if waits else Status.QUEUED
        assert after is self.last[job_id]

    @rule()
    def claim(self) -> None:
        before = self._running()
        claimed = claim(self.book, self.queue)
        self.leases += claimed
        most, running = min(self.most), self._running()
        assert running <= max(before, most)
        if self.queue == "llm" or not claimed:
            assert running >= most or not list(self.book.client.scan_iter("tandem:lane:jobs:*")), "there was room"

    def _running(self) -> int:
        return sum(get(self.book, job_id).status is Status.RUNNING for job_id in self.last)

    @rule(of_tenant=st.sampled_from([None, 1, 2]), of_task=st.sampled_from([None, 1, 2]))
    def limit(self, of_tenant: int | None, of_task: int | None) -> None:
        """Set how many of the tenant's and of the task's jobs may run at once."""
        tasks = {TASKS[self.queue]: {"concurrency": of_task}} if of_task else {}
        self.book.run(told({"ann": {"concurrency": {self.queue: of_tenant}}}, tasks))
        self.most = [of_tenant or MANY, of_task or MANY]

    @rule()
    def tick(self) -> None:
        tick(self.book)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=st.sampled_from(["succeed", "fail", "retry", "hand_back", "crash", "lose", "expire"]))
    def act(self, data: st.DataObject, outcome: str) -> None:
        lease = self.leases[data.draw(st.integers(0, len(self.leases) - 1))]
        decisions: dict[str, Decision] = {
            "fail": Fail(FAILURE),
            "retry": RetryIn(NOTHING, FAILURE),
            "hand_back": HandBack(NOTHING),
        }
        if outcome == "succeed":
            succeed(self.book, lease)
        elif outcome == "crash":
            self.book.run(leases.crash(lease, ttl=TTL, delay=NOTHING))
        elif outcome == "lose":
            self.book.run(leases.lose(lease, ttl=TTL))
        elif outcome == "expire":
            expire_lease(self.book, lease)
        else:
            self.book.run(leases.give_up(lease, decisions[outcome], usage=Usage(), ttl=TTL))

    @invariant()
    def final_is_final_and_counts_are_true(self) -> None:
        if not hasattr(self, "book"):
            return
        now: dict[str, int] = {}
        for job_id, before in self.last.items():
            status = get(self.book, job_id).status
            assert before not in FINAL or status is before
            self.last[job_id] = status
            if status not in FINAL:
                now[status] = now.get(status, 0) + 1
        assert counts(self.book, self.queue) == now
        waiting = sum(count for status, count in now.items() if status is not Status.RUNNING)
        assert int(self.book.client.hget(f"tandem:share:{self.queue}", "ann") or 0) == waiting  # type: ignore[arg-type]

    @invariant()
    def every_unfinished_job_is_in_exactly_one_place(self) -> None:
        if not hasattr(self, "book"):
            return
        unfinished = sorted(job_id for job_id in self.last if not get(self.book, job_id).finished)
        connection: Any = self.book.client
        if self.queue == "llm":
            places = [
                job_id for name in (*ARQ_QUEUES.values(), Key.LEASES) for job_id in connection.zrange(name, 0, -1)
            ]
        else:
            places = []
            for name in RQ_NAMES.values():
                places += [member.split(b":")[0] for member in connection.zrange(f"rq:wip:{name}", 0, -1)]
                places += connection.zrange(f"tandem:waiting:{name}", 0, -1)
                places += connection.zrange(f"rq:scheduled:{name}", 0, -1)
        assert connection.zcard("tandem:failed:" + self.queue) == sum(
            get(self.book, job_id).status is Status.FAILED for job_id in self.last
        )
        assert sorted(place.decode() for place in places) == unfinished


def test_the_book_stays_true_whatever_happens(valkey: str) -> None:
    class Here(Life):
        url = valkey

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
