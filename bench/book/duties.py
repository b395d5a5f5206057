"""What the clock and an operator do, in a book in which very many jobs wait."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ulid import ULID

from bench.book.fill import OWNERS, TTL, batched, job, run_all, store
from bench.book.pools import TIMES, WEBHOOK, claim_sync
from bench.book.stopwatch import Stopwatch
from tandem.api.ops.metrics import COUNTERS
from tandem.shared.jobs.model import Status
from tandem.shared.maintenance.scripts import KEPT
from tandem.shared.store import leases, listing, maintenance, queues
from tandem.shared.store.keys import RQ_REGISTRIES, Key, RqKey
from tandem.shared.store.limits.explanation import told
from tandem.shared.store.limits.operations import list_parks
from tandem.shared.store.listing import Filter
from tandem.shared.store.queues import QueueName
from tandem.shared.store.scripts import SCRIPTS, Call

LOOKS = 50  # as the clock
DUE, DEAD = 1000, 100_000
MOST_WORKERS, RUNS_EACH = 200, 100


def measure(watch: Stopwatch) -> None:
    """Time all of it."""
    listings(watch)
    operator(watch)
    for _ in range(TIMES):
        for call in maintenance.duties(ttl=TTL, looks=LOOKS):
            watch.time(f"{call.name}, with nothing to do", [call])
    burdened(watch)


def listings(watch: Stopwatch) -> None:
    filters = {
        "all": Filter(),
        "an owner's": Filter(owner="owner-1"),
        "a task's": Filter(task="chat"),
        "a queue's": Filter(queue="sync"),
        "of a common status": Filter(status=Status.QUEUED),
        "of a rare status": Filter(status=Status.FAILED),
        "nothing matches": Filter(owner="owner-1", task="none"),
    }
    for name, which in filters.items():
        watch.time(f"list, {name}", (listing.page(which, limit=100) for _ in range(TIMES)))
    watch.time("trim_index (cleanup)", (listing.trim(None, start=250 * n, dry_run=False) for n in range(TIMES)))
    watch.time("read the owners (cleanup)", (listing.owners() for _ in range(TIMES)))
    shown = [Call("ZRANGE", [Key.WAITING_IN + "sync", start, start + 7], len, command=True) for start in (0, 500_000)]
    watch.time("the dashboard's page of a queue", shown)


def operator(watch: Stopwatch) -> None:
    for queue in QueueName:
        watch.time(f"queues, {queue}", (queues.look(queue) for _ in range(TIMES)))
    for number in range(MOST_WORKERS):
        runs = [str(ULID()) for _ in range(RUNS_EACH)]
        worker = f"worker-{number}"
        watch.book.run(leases.renew("llm", [], worker=worker))
        watch.book.client.hset(Key.WORKER + worker, "running", " ".join(runs))
    busy = f"queues, llm, {MOST_WORKERS} workers with {RUNS_EACH} runs each"
    watch.time(busy, (queues.look(QueueName.LLM) for _ in range(5)))
    for queue in QueueName:
        watch.time(f"pause, {queue}", (queues.pause(queue, paused=True) for _ in range(5)))
        watch.time(f"resume, {queue}", (queues.pause(queue, paused=False) for _ in range(5)))
    watch.time("metrics: counters", (COUNTERS for _ in range(5)))
    watch.time("metrics: told", (told() for _ in range(5)))
    watch.time("list_parks", (list_parks() for _ in range(5)))
    watch.time("leave", [queues.leave("worker-1", "llm")])
    watch.time("at start: which scripts are there", [KEPT])
    watch.book.client.function_flush("SYNC")
    loads = (Call("FUNCTION", ["LOAD", script.source], len, command=True) for script in SCRIPTS.values())
    watch.time("at start: load a script", loads)


def burdened(watch: Stopwatch) -> None:
    """The clock's duties with more to do than one step does."""
    for duty, make in BURDENS.items():
        make(watch)
        call = {call.name: call for call in maintenance.duties(ttl=TTL, looks=LOOKS)}[duty]
        watch.time(f"{duty}, with much to do", (call for _ in range(5)))


def _due(watch: Stopwatch) -> None:
    store(watch.book, (job("sync", n, delay=timedelta(milliseconds=1)) for n in range(DUE)))


def _dead(watch: Stopwatch) -> None:
    run_all(watch.book, [claim_sync("dead") for _ in range(DUE)])
    for key in watch.book.client.scan_iter(match=f"{RqKey.RQ_WIP}*", count=10**6):
        members = [member for member, _ in watch.book.client.zscan_iter(key)]
        watch.book.client.zadd(key, dict.fromkeys(members, 1))


def _expired(watch: Stopwatch) -> None:
    for queue in ("llm", "sync"):
        options: dict[str, Any] = {"expires_in": timedelta(milliseconds=1), "webhook_url": WEBHOOK}
        store(watch.book, (job(queue, n, **options) for n in range(DUE)))


def _unadopted(watch: Stopwatch) -> None:
    watch.book.client.zadd(Key.ADOPTING, {f"plain {ULID()}": 1 for _ in range(DUE)})


def _lost(watch: Stopwatch) -> None:
    """Of the oldest jobs no list knows any more."""
    ids = _texts(watch.book.client.zrange(Key.INDEX, 0, DUE))
    for part in batched(ids):
        for name in ("sync", "sync-high", "sync-low", "sync-idle"):
            watch.book.client.zrem(Key.WAITING_IN + name, *part)
    for key in watch.book.client.scan_iter(match=f"{Key.LANE_JOBS}*", count=10**6):
        watch.book.client.zrem(key, *ids)
    watch.book.client.delete(Key.SWEPT)


def _ran_out(watch: Stopwatch) -> None:
    """Records that have run out are named in all lists still."""
    names = ("sync", "sync-high", "sync-low")
    registries = [registry + name for registry in set(RQ_REGISTRIES.values()) for name in names]
    for key in (*registries, Key.FAILURES + "llm", Key.FAILURES + "sync"):
        _name_dead(watch, key)


def _dead_entries(watch: Stopwatch) -> None:
    for name in (Key.INDEX, *(f"{Key.BY_STATUS}{status}" for status in (Status.FAILED, Status.CANCELLED))):
        _name_dead(watch, name)
    for number in range(OWNERS):
        watch.book.client.zadd(f"{Key.INDEX}:owner-{number}", {str(ULID()): 1 for _ in range(DUE)})
    watch.book.client.delete(Key.TRIMMED)


def _name_dead(watch: Stopwatch, key: str) -> None:
    for part in batched(str(ULID()) for _ in range(DEAD)):
        watch.book.client.zadd(key, dict.fromkeys(part, 1))


def _unindexed(watch: Stopwatch) -> None:
    watch.book.client.delete(*(f"{Key.BY_STATUS}{status}" for status in Status))
    watch.book.client.hdel(Key.INDEXED_UP_TO, "rank")


def _gone_workers(watch: Stopwatch) -> None:
    watch.book.client.sadd(RqKey.RQ_WORKERS, *(f"rq:worker:{n}" for n in range(10 * DUE)))


def _unlisted(watch: Stopwatch) -> None:
    for key in watch.book.client.scan_iter(match="tandem:webhooks:*", count=10**6):
        watch.book.client.unlink(key)


BURDENS: dict[str, Callable[[Stopwatch], None]] = {
    "move_due": _due,
    "recover_expired_leases": _dead,
    "expire_unstarted": _expired,
    "return_unadopted": _unadopted,
    "recover_lost": _lost,
    "trim_registries": _ran_out,
    "trim_indexes": _dead_entries,
    "index_statuses": _unindexed,
    "forget_dead_workers": _gone_workers,
    "enlist_deliveries": _unlisted,
}


def _texts(answer: Any) -> list[str]:
    return [member.decode() for member in answer]
