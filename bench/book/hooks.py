"""What becomes of webhooks, with very many waiting to be delivered."""

from collections.abc import Iterator
from datetime import timedelta

from bench.book.fill import OWNERS, TTL, batched, job, run_all, store
from bench.book.stopwatch import Stopwatch
from tandem.shared.store import commands, deliveries, maintenance, queues
from tandem.shared.store.deliveries import Outcome, Verdict
from tandem.shared.store.queues import QueueName

TIMES, AT_ONCE = 20, 50
LEASE = timedelta(seconds=30)
HOSTS = 10  # of each owner
MANY_HOSTS = 10_000


def wait(watch: Stopwatch, count: int) -> None:
    """Let so many deliveries wait, each owner's to a few hosts."""
    _end(watch, ((f"owner-{n % OWNERS}", f"https://h{n // OWNERS % HOSTS}.example.com/") for n in range(count)))


def measure(watch: Stopwatch) -> None:
    _time(watch, "")
    _end(watch, (("0-many-hosts", f"https://h{n}.example.com/") for n in range(MANY_HOSTS)))
    _time(watch, f", an owner with {MANY_HOSTS:,} hosts")


def _time(watch: Stopwatch, where: str) -> None:
    ask = [deliveries.claim(limit=AT_ONCE, lease=LEASE, places=AT_ONCE) for _ in range(TIMES)]
    due = watch.time(f"claim_deliveries{where}", ask)
    one = iter([delivery for found in due for delivery in found.deliveries])
    for outcome in (Outcome.DELIVERED, Outcome.PENDING):
        verdict = Verdict(outcome, status=200, delay=timedelta(minutes=1))
        watch.time(
            f"settle_delivery: {outcome}{where}",
            (deliveries.settle(next(one), verdict, body="{}") for _ in range(TIMES)),
        )
    watch.time(f"queues, webhooks, with deliveries{where}", (queues.look(QueueName.WEBHOOKS) for _ in range(5)))
    watch.time(f"enlist_deliveries{where}", (maintenance.enlist_deliveries() for _ in range(TIMES)))


def _end(watch: Stopwatch, hooks: Iterator[tuple[str, str]]) -> None:
    """End a job for each owner and URL."""
    for part in batched(job("sync", owner=owner, webhook_url=url) for owner, url in hooks):
        run_all(watch.book, (commands.cancel(job_id, ttl=TTL) for job_id in store(watch.book, part)))
