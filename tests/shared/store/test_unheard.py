"""Claims whose answers get lost, and outages of Redis: nothing is burnt, nothing is left behind."""

from datetime import timedelta
from typing import Any

from tandem.shared.jobs.model import Status, Usage
from tandem.shared.jobs.retry import HandBack
from tandem.shared.store import leases, scripts
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import ARQ_QUEUES
from tests.support.jobs import NOTHING, TASKS, TTL, both, claim, expire_lease, get, put, succeed, tick


def claim_of(queue: str, worker: str = "w") -> leases.Claim:
    if queue == "sync":
        return leases.claim_sync(worker=worker, ttl=TTL)
    return leases.claim_llm(worker=worker, limit=1, ttl=TTL)


def outage(book: Book) -> None:
    """What an outage of Redis leaves: nobody called for a while. Who comes first sees it."""
    _wait(book, 1)
    book.client.set("tandem:seen", 1)
    book.run(leases.renew("llm", [], worker="somebody"))


@both
def test_a_worker_that_ends_gives_its_unanswered_claim_back(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    put(book, TASKS[queue])
    [running] = book.run(claim_of(queue)).leases
    call = claim_of(queue)
    [unheard] = book.run(call).leases
    assert book.run(leases.disclaim(queue, call, worker="w")) == 1
    assert book.run(leases.disclaim(queue, call, worker="w")) == 0
    job = get(book, unheard.id)
    assert (job.status, job.attempt, job.attempts, job.started_at) == (Status.QUEUED, 0, [], None)
    assert get(book, running.id).status is Status.RUNNING
    [again] = claim(book, queue)
    assert (again.id, again.attempt) == (unheard.id, 1)


@both
def test_a_claim_that_was_heard_of_is_not_disclaimed(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    first, second = claim_of(queue), claim_of(queue)
    [lease] = book.run(first).leases
    assert book.run(leases.disclaim(queue, second, worker="w")) == 0
    assert get(book, lease.id).status is Status.RUNNING


@both
def test_a_claim_that_was_never_heard_of_burns_no_attempt(book: Book, queue: str) -> None:
    """Redis went away with the answer, and was away until the worker had ended."""
    job_id = put(book, TASKS[queue], expires_in=timedelta(hours=1))
    [lease] = book.run(claim_of(queue)).leases
    outage(book)
    expire_lease(book, lease)
    tick(book)
    if queue == "llm":
        book.run(leases.claim_llm(worker="v", limit=0, ttl=TTL))
    job = get(book, job_id)
    assert (job.status, job.attempt, job.attempts, job.error) == (Status.QUEUED, 0, [], None)
    assert book.client.zscore("tandem:expiring", job_id), "it has not begun, and may still expire"
    [again] = claim(book, queue)
    assert (again.id, again.attempt) == (job_id, 1)


@both
def test_what_is_lost_in_an_outage_burns_no_attempt(book: Book, queue: str) -> None:
    """Its worker knew of it, and was killed, or was told to stop and could not hand it back: nobody can tell."""
    for hear in (
        lambda lease: book.run(leases.renew(queue, [lease], worker="w")),
        lambda _lease: book.run(claim_of(queue)),
    ):
        job_id = put(book, TASKS[queue])
        [lease] = book.run(claim_of(queue)).leases
        hear(lease)
        outage(book)
        expire_lease(book, lease)
        tick(book)
        [again] = claim(book, queue)
        assert (again.id, again.attempt, get(book, job_id).attempts) == (job_id, 1, [])
        book.run(leases.give_up(again, HandBack(timedelta(hours=1)), usage=Usage(), ttl=TTL))


@both
def test_what_is_lost_in_one_outage_after_the_other_is_given_up(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    for _ in range(10):
        if get(book, job_id).finished:
            break
        [lease] = (
            book.run(claim_of(queue)).leases
            or book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL, suspects=1)).leases
        )
        book.run(leases.renew(queue, [lease], worker="w"))
        outage(book)
        expire_lease(book, lease)
        tick(book)
        if queue == "llm":
            book.run(leases.claim_llm(worker="v", limit=0, ttl=TTL))
    job = get(book, job_id)
    assert (job.status, (job.error or {})["type"]) == (Status.FAILED, "crash_loop")


@both
def test_who_was_heard_of_after_the_outage_crashes_as_ever(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [lease] = book.run(claim_of(queue)).leases
    outage(book)
    book.run(leases.renew(queue, [lease], worker="w"))
    expire_lease(book, lease)
    tick(book)
    [again] = claim(book, queue)
    assert again.attempt == 2


@both
def test_a_renewal_of_older_leases_is_no_sign_of_having_heard(book: Book, queue: str) -> None:
    put(book, TASKS[queue])
    [running] = book.run(claim_of(queue)).leases
    job_id = put(book, TASKS[queue])
    [lease] = book.run(claim_of(queue)).leases
    book.run(leases.renew(queue, [running], worker="w"))
    outage(book)
    book.run(leases.renew(queue, [running], worker="w"))
    expire_lease(book, lease)
    tick(book)
    [again] = book.run(claim_of(queue, worker="v")).leases
    assert (again.id, again.attempt) == (job_id, 1)


@both
def test_a_claim_without_an_outage_is_a_crash(book: Book, queue: str) -> None:
    """A job that kills its worker at once must not go on for ever."""
    put(book, TASKS[queue])
    [lease] = book.run(claim_of(queue)).leases
    expire_lease(book, lease)
    tick(book)
    [again] = claim(book, queue)
    assert again.attempt == 2


@both
def test_what_a_worker_does_not_know_may_still_expire(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], expires_in=timedelta(milliseconds=300))
    [lease] = claim(book, queue)
    book.run(leases.give_up(lease, HandBack(timedelta(hours=1), begun=False), usage=Usage(), ttl=TTL))
    job = get(book, job_id)
    assert (job.status, job.attempt, job.started_at) == (Status.SCHEDULED, 0, None)
    _wait(book, 300)
    tick(book)
    assert get(book, job_id).status is Status.EXPIRED


@both
def test_what_once_began_does_not_expire_by_a_worker_that_does_not_know_it(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], expires_in=timedelta(milliseconds=300))
    for begun in (True, False):
        [lease] = claim(book, queue)
        book.run(leases.give_up(lease, HandBack(NOTHING, begun=begun), usage=Usage(), ttl=TTL))
    _wait(book, 300)
    tick(book)
    assert get(book, job_id).status is Status.QUEUED


def _wait(book: Book, milliseconds: int) -> None:
    """Let Redis's clock go on by so much."""
    book.client.execute_command("BLPOP", "nothing", (milliseconds + 50) / 1000)  # type: ignore[no-untyped-call]  # redis-py has no types here


def hand_back(book: Book, lease: leases.Lease) -> bool:
    return book.run(leases.give_up(lease, HandBack(NOTHING), usage=Usage(1, 2, 1), ttl=TTL))


@both
def test_what_is_written_again_when_another_has_run_it_costs_once(book: Book, queue: str) -> None:
    """The answer got lost, and the job was at work elsewhere, and done, before the call came again."""
    job_id = put(book, TASKS[queue])
    [first] = claim(book, queue)
    assert hand_back(book, first)
    [second] = claim(book, queue)
    assert hand_back(book, first), "its outcome is written"
    assert succeed(book, second)
    assert hand_back(book, first)
    assert succeed(book, second)
    assert book.run(leases.ended_in_order(first))
    assert book.run(leases.renew(queue, [first], worker="w")) == ([first.id] if queue == "sync" else [])
    job = get(book, job_id)
    assert (job.status, job.attempt, job.usage) == (Status.SUCCEEDED, 1, Usage(2, 4, 2))


@both
def test_what_lost_runs_write_again_costs_once(book: Book, queue: str) -> None:
    job_id, lost = put(book, TASKS[queue]), []
    for _ in range(2):
        [lease] = claim(book, queue)
        expire_lease(book, lease)
        tick(book)
        lost.append(lease)
    [last] = claim(book, queue)
    for lease in [*lost, *lost]:
        assert not hand_back(book, lease)
        assert not book.run(leases.ended_in_order(lease))
    assert get(book, job_id).usage == Usage(2, 4, 2)
    assert succeed(book, last)
    assert not hand_back(book, lost[0])
    assert get(book, job_id).usage == Usage(3, 6, 3)


@both
def test_a_clock_that_goes_back_delays_nothing_that_was_due(book: Book, queue: str) -> None:
    """The clock was an hour ahead when they came, and was set right."""
    client: Any = book.client
    first, second = put(book, TASKS[queue]), put(book, TASKS[queue])
    later = put(book, TASKS[queue], delay=timedelta(hours=3))
    [dead] = book.run(claim_of(queue)).leases
    assert dead.id == first
    hour = 3_600_000
    for key in (*ARQ_QUEUES.values(), "tandem:leases:llm"):
        for member in client.zrange(key, 0, -1):
            client.zincrby(key, hour, member)
    for member in client.zrange("rq:wip:sync", 0, -1):
        client.zincrby("rq:wip:sync", hour / 1000, member)
    [seconds, micros] = client.time()
    client.set("tandem:seen", seconds * 1000 + micros // 1000 + hour)
    tick(book)
    assert [lease.id for lease in claim(book, queue)] == [second]
    assert get(book, later).status is Status.SCHEDULED
    ends = client.zscore("tandem:leases:llm", first) if queue == "llm" else None
    ends = ends or client.zscore("rq:wip:sync", f"{first}:{dead.token}") * 1000
    assert ends <= (seconds + 2) * 1000 + scripts.LEASE / timedelta(milliseconds=1)
