"""The greatest age of a job, on a real server: how long after it is due it may still begin, or begin again."""

from datetime import timedelta

from tandem.shared.jobs.model import Job, Status, Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.jobs.submission import Admission
from tandem.shared.store import commands, leases, queues
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName
from tests.support.jobs import FAILURE, NOTHING, PLENTY, TASKS, TTL, both, claim, get, put, succeed, tick
from tests.support.keyspace.problems import problems

WEEK = timedelta(days=7)
BOUNDED = Admission(queue_max=1000, max_age=WEEK)


def age(book: Book, job_id: str) -> None:
    """What a week does to a job."""
    assert book.client.hexists(f"tandem:job:{job_id}", "give_up_at")
    book.client.hset(f"tandem:job:{job_id}", "give_up_at", "1")


def why(job: Job) -> tuple[str, str]:
    return job.status, (job.error or {})["type"]


@both
def test_what_waits_for_too_long_is_not_begun(book: Book, queue: str) -> None:
    old, young = (put(book, TASKS[queue], admission=BOUNDED) for _ in range(2))
    age(book, old)
    assert [lease.id for lease in claim(book, queue)] == [young]
    assert why(get(book, old)) == (Status.EXPIRED, "too_old")
    assert not problems(book.client)


@both
def test_what_is_put_off_again_and_again_is_given_up(book: Book, queue: str) -> None:
    """As in an outage of its provider that does not end: no attempt is burnt, and none is left to be."""
    job_id = put(book, TASKS[queue], admission=BOUNDED, expires_in=timedelta(hours=1))
    for back in (RetryIn(NOTHING, FAILURE), HandBack(NOTHING)):
        [lease] = claim(book, queue)
        book.run(leases.give_up(lease, back, usage=Usage(), ttl=TTL))
    age(book, job_id)
    assert claim(book, queue) == []
    job = get(book, job_id)
    assert why(job) == (Status.FAILED, "too_old")
    assert [entry["type"] for entry in job.attempts] == [FAILURE.type], "what went wrong before is still told"
    assert not problems(book.client)


@both
def test_the_clock_ends_what_no_claim_comes_to(book: Book, queue: str) -> None:
    """As behind a queue that is paused, or a limit that lets nothing through."""
    book.run(queues.pause(QueueName(queue), paused=True))
    old, later, young = (
        put(book, TASKS[queue], admission=BOUNDED, delay=delay) for delay in (None, timedelta(hours=1), None)
    )
    for job_id in (old, later):
        age(book, job_id)
    tick(book)
    assert [get(book, job_id).status for job_id in (old, later, young)] == ["expired", "expired", "queued"]
    assert not problems(book.client)


@both
def test_a_running_job_is_not_too_old(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], admission=BOUNDED)
    [lease] = claim(book, queue)
    age(book, job_id)
    tick(book)
    assert succeed(book, lease)


@both
def test_the_age_counts_from_when_a_job_is_due(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], admission=BOUNDED, delay=timedelta(days=30))
    job = get(book, job_id)
    assert job.run_at
    assert give_up_at(book, job_id) == round((job.run_at + WEEK).timestamp() * 1000)


@both
def test_who_asks_for_less_is_told_so(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], admission=BOUNDED, expires_in=timedelta(hours=1))
    book.client.hset(f"tandem:job:{job_id}", "expires_at", "1")
    assert claim(book, queue) == []
    assert why(get(book, job_id)) == (Status.EXPIRED, "not_begun_in_time")


@both
def test_who_gives_it_more_time_has_that(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], admission=BOUNDED, expires_in=3 * WEEK)
    assert give_up_at(book, job_id) == round((get(book, job_id).created_at + 3 * WEEK).timestamp() * 1000)


@both
def test_a_retry_makes_it_young(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue], admission=BOUNDED)
    age(book, job_id)
    assert claim(book, queue) == []
    assert book.run(commands.retry(job_id, max_age=WEEK)) is Status.EXPIRED
    assert (give_up_at(book, job_id) or 0) > 1
    assert [lease.id for lease in claim(book, queue)] == [job_id]
    assert get(book, job_id).error is None


@both
def test_without_a_greatest_age_a_job_waits_for_ever(book: Book, queue: str) -> None:
    for admission in (PLENTY, Admission(queue_max=1000, max_age=NOTHING)):
        job_id = put(book, TASKS[queue], admission=admission)
        assert give_up_at(book, job_id) is None


def test_an_age_costs_one_field_and_no_command(book: Book) -> None:
    """Every job has one: it stands in no set of its own."""

    def cost(admission: Admission) -> tuple[int, set[bytes]]:
        before = commands_run(book)
        job_id = put(book, admission=admission)
        spent = commands_run(book) - before
        return spent, set(book.client.hkeys(f"tandem:job:{job_id}"))  # type: ignore[arg-type]  # not awaited

    put(book)  # the scripts are loaded
    plain, bounded = cost(PLENTY), cost(BOUNDED)
    assert bounded == (plain[0], plain[1] | {b"give_up_at"})
    assert book.client.zcard("tandem:expiring") == 0


def commands_run(book: Book) -> int:
    """How many commands the server has run, those of scripts included; looking at it is one."""
    stats: dict[str, dict[str, int]] = book.client.info("commandstats")  # type: ignore[assignment]  # not awaited
    return sum(entry["calls"] for name, entry in stats.items() if name not in {"cmdstat_info", "cmdstat_hkeys"})


def give_up_at(book: Book, job_id: str) -> int | None:
    stored = book.client.hget(f"tandem:job:{job_id}", "give_up_at")
    return int(stored) if stored else None  # type: ignore[arg-type]  # not awaited
