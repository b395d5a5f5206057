"""What a claim, a worker and an owner do, in a book in which very many jobs wait."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import repeat
from typing import Any

from bench.book.fill import ADMISSION, MODELS, TTL, job, run_all, store
from bench.book.stopwatch import Stopwatch
from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail, Failure, RetryIn
from tandem.shared.jobs.submission import Submission
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes
from tandem.shared.store import commands, events, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import ArqKey, Key, LimitKey
from tandem.shared.store.leases import Lease, Success
from tandem.shared.store.limits.explanation import explain
from tandem.shared.store.limits.operations import operate
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority

TIMES = 20
MANY = 1000
A_CLAIM, A_ROUND, A_BATCH = 25, 100, 30  # jobs that a worker asks for, leases that it renews, requests to the limits
TEXT = '"' + "x" * 1_000_000 + '"'
WORKER = "bench"
USED = Usage(input_tokens=100, output_tokens=100, requests=1)
WIDE = Limits(rpm=10**7, tpm=10**9, concurrency=10**6)
GATES = Scopes(
    {"p": WIDE},
    {f"model-{n}": ModelConfig(provider="p", **vars(WIDE)) for n in range(MODELS)},
    default="p",
)
FREE = Scopes({"p": Limits()}, {}, default="p").table()
LIMITED = GATES.table()
FAILURE = Failure("bench", "it broke", retryable=True)
WEBHOOK = "https://example.com/hook"


def claim(limit: int = A_CLAIM, models: Any = FREE, worker: str = WORKER) -> leases.Claim:
    return leases.claim_llm(worker=worker, limit=limit, ttl=TTL, suspects=16, idle=limit, models=models)


def claim_sync(worker: str = WORKER) -> leases.Claim:
    return leases.claim_sync(worker=worker, ttl=TTL)


def measure(watch: Stopwatch) -> None:
    """Time all of it."""
    claims(watch)
    ends(watch)
    limits(watch)
    owners(watch)
    at_the_head(watch)


def claims(watch: Stopwatch) -> None:
    for queue in ("llm", "sync"):
        watch.time(f"store_job, {queue}", (store_job(job(queue, n), ADMISSION) for n in range(TIMES)))
    _claims(watch, "claim_llm, 25 jobs", (claim() for _ in range(TIMES)))
    _claims(watch, "claim_llm, 25 jobs, six gates", (claim(models=LIMITED) for _ in range(TIMES)))
    _claims(watch, "claim_sync", (claim_sync() for _ in range(TIMES)))
    asked = claim()
    watch.time("claim_llm, asked again as its answer got lost", repeat(asked, TIMES))
    for _ in range(5):
        watch.time("disclaim", [leases.disclaim("llm", asked, worker=WORKER)])
        watch.book.run(asked)
    watch.book.run(leases.disclaim("llm", asked, worker=WORKER))


def _claims(watch: Stopwatch, name: str, calls: Iterable[leases.Claim]) -> None:
    """Time claims and end what they lease: runs that nobody renews would be given back by later ones."""
    end(watch.book, [lease for claimed in watch.time(name, calls) for lease in claimed.leases])


def end(book: Book, held: Iterable[Lease]) -> None:
    run_all(book, [commands.cancel(lease.id, ttl=TTL) for lease in held])


def ends(watch: Stopwatch) -> None:
    """A run's renewals, events and ends."""
    for queue, held in (("llm", _held(watch, 2 * A_ROUND)), ("sync", _held_sync(watch, A_ROUND))):
        renewal = leases.renew(queue, held[:A_ROUND], worker=WORKER)
        watch.time(f"renew, {queue}: {A_ROUND} leases", repeat(renewal, TIMES))
        some = iter(held)
        for name, success in (("succeeded", Success('{"text": "x"}')), ("1 MB of result", Success(TEXT))):
            watch.time(
                f"finish, {queue}: {name}",
                (leases.succeed(next(some), success, usage=USED, ttl=TTL) for _ in range(TIMES)),
            )
        for name, decision in (("failed", Fail(FAILURE)), ("retry", RetryIn(timedelta(seconds=1), FAILURE))):
            watch.time(
                f"finish, {queue}: {name}",
                (leases.give_up(next(some), decision, usage=USED, ttl=TTL) for _ in range(TIMES)),
            )
        end(watch.book, held)
    [one] = _held(watch, 1)
    delta = [(Kind.DELTA, {"text": "x" * 20})] * A_BATCH
    watch.time(f"append, {A_BATCH} events", (events.append(one, delta) for _ in range(10_000 // A_BATCH)))
    watch.time("read_events of 10,000", (events.read(one.id, after=n) for n in range(0, 10_000, 500)))
    end(watch.book, [one])


def limits(watch: Stopwatch) -> None:
    """What later requests of a run ask."""
    held = _held(watch, A_BATCH)
    tickets = [f"{lease.id}:{lease.token}:1" for lease in held]
    own = GATES.own("model-0")
    asked = {"op": "acquire", "tokens": 200, "sort": "", "waited": 0, "why": "", "levels": own.levels()}
    asked["scope"] = own.name
    for _ in range(3):
        watch.time(
            f"operate, {A_BATCH} requests, six gates", [operate([asked | {"ticket": ticket} for ticket in tickets])]
        )
        ended = [{"op": "settle", "ticket": ticket, "answered": True, "tokens": 100} for ticket in tickets]
        watch.time(f"operate, {A_BATCH} settlements, six gates", [operate(ended)])
    end(watch.book, held)
    # Runs that ended without a word, whose places are due to be looked at.
    taken = _held(watch, 10 * A_CLAIM, models=LIMITED)
    end(watch.book, taken)
    watch.book.client.zadd(LimitKey.LIMIT_CHECKS, {f"{lease.id}:{lease.token}:0": 0 for lease in taken})
    _claims(watch, "claim_llm, places of dead runs to free", (claim(models=LIMITED) for _ in range(10)))


def owners(watch: Stopwatch) -> None:
    """What an owner or an operator does with single jobs."""
    for queue in ("llm", "sync"):
        ids = store(watch.book, (job(queue, n, webhook_url=WEBHOOK) for n in range(TIMES)))
        watch.time(f"explain, {queue}", (explain(job_id) for job_id in ids))
        watch.time(f"read, {queue}", (commands.fetch_bounded(job_id, most=2048) for job_id in ids))
        for status in ("waiting", "running"):
            if status == "running":
                held = _held(watch, TIMES) if queue == "llm" else _held_sync(watch, TIMES)
                ids = [lease.id for lease in held]
            watch.time(f"cancel, {queue}: {status}", (commands.cancel(job_id, ttl=TTL) for job_id in ids))
        watch.time(f"retry, {queue}", (commands.retry(job_id) for job_id in ids))
        run_all(watch.book, [commands.cancel(job_id, ttl=TTL) for job_id in ids])
        watch.time(f"erase, {queue}", (commands.erase(job_id) for job_id in ids))


def at_the_head(watch: Stopwatch) -> None:
    """Claims that find at the head what they can't lease, or what is dear to lease."""
    book = watch.book
    for queue, ask in (("llm", claim), ("sync", claim_sync)):
        for name, make in BURDENS.items():
            ids = make(book, queue)
            _claims(watch, f"claim_{queue}, at the head {name}", (ask() for _ in range(TIMES)))
            run_all(book, [commands.cancel(job_id, ttl=TTL) for job_id in ids])
            while book.client.exists(*_lines(queue, "0-first")):  # what has no record
                book.run(ask())
    aborted = store(book, _first("llm", 200, webhook_url=WEBHOOK))
    book.client.zadd(ArqKey.ARQ_ABORT, dict.fromkeys(aborted, 1))
    watch.time("heed_aborts", (commands.heed_aborts(ttl=TTL) for _ in range(8)))
    store(book, _first("llm", 1000, delay=timedelta(milliseconds=1)))
    _claims(watch, "claim_llm, scheduled ones are due", (claim() for _ in range(TIMES)))
    dead = _held(watch, 500, worker="dead")
    book.client.zadd(Key.LEASES, dict.fromkeys([lease.id for lease in dead], 1))
    _claims(watch, "claim_llm, leases of a dead worker", (claim() for _ in range(TIMES)))


def _expired(book: Book, queue: str) -> list[str]:
    return store(book, _first(queue, MANY, expires_in=timedelta(milliseconds=1), webhook_url=WEBHOOK))


def _gone(book: Book, queue: str) -> list[str]:
    ids = store(book, _first(queue, MANY))
    book.client.unlink(*(Key.JOB + job_id for job_id in ids))
    return ids


def _large(book: Book, queue: str) -> list[str]:
    jobs = list(_first(queue, 100, payload=TEXT))
    for one in jobs:
        book.run(store_job(one, ADMISSION))
    return [one.id for one in jobs]


BURDENS: dict[str, Callable[[Book, str], list[str]]] = {
    f"{MANY:,} that expired": _expired,
    f"{MANY:,} without a record": _gone,
    "inputs of 1 MB": _large,
}


def _lines(queue: str, owner: str) -> list[str]:
    """Name the keys in which an owner's jobs wait."""
    names = [f"model-{n}" for n in range(MODELS)] if queue == "llm" else ["~sync"]
    names += [f"~idle {name}" for name in names]
    return [f"{Key.LANE_JOBS}{priority}:{owner}:{name}" for priority in Priority for name in names]


def _first(queue: str, count: int, **options: Any) -> Iterator[Submission]:
    """Make jobs whose owner stands first where nobody has had less."""
    return (job(queue, n, owner="0-first", priority=Priority.NORMAL, **options) for n in range(count))


def _held(watch: Stopwatch, count: int, *, models: Any = FREE, worker: str = WORKER) -> list[Lease]:
    found: list[Lease] = []
    while len(found) < count:
        found += watch.book.run(claim(min(A_CLAIM, count - len(found)), models, worker)).leases
    return found


def _held_sync(watch: Stopwatch, count: int) -> list[Lease]:
    return [lease for claimed in run_all(watch.book, [claim_sync() for _ in range(count)]) for lease in claimed.leases]
