"""The duties of the clock, each a call of its own that does a bounded piece of work: what is left, the next step does.

An answer is a number: of the jobs or entries that the duty found.

The record of a finished job needs no duty: it goes by the TTL that it gets at its end (`finish_job` in
lua/lib/transitions.lua). Here the lists and indexes that still name it are trimmed.
"""

from datetime import UTC, datetime, timedelta

from tandem.shared.errors import StoreUnavailable
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import DELIVERING, ENGINES, MOVED_AT_ONCE, RECORDS, Call, script

MOST_ROUNDS = 10  # of a duty in one step
SCHEDULE_KEPT = timedelta(days=400)  # longer than any schedule pauses


@script("maintenance/recover_expired_leases")
def recover_expired_leases(*, ttl: timedelta) -> int:
    """Give sync jobs of dead workers back, or fail them; 20 at most. Claims do the same for the asyncio pool."""


@script("maintenance/move_due")
def move_due() -> int:
    """Move sync jobs whose time has come to their queue; 20 at most."""


@script("maintenance/return_unadopted", library=RECORDS)
def return_unadopted() -> int:
    """Put jobs of plain RQ back that a worker took and neither adopted nor refused; 200 at most."""


@script("maintenance/expire_unstarted")
def expire_unstarted(*, ttl: timedelta) -> int:
    """End jobs that did not begin in time; 20 at most."""


@script("maintenance/recover_lost")
def recover_lost(*, ttl: timedelta, looks: int) -> int:
    """Look at the next `looks` jobs for ones that no list leads to, and put them back; 5 ms, and one search.

    Those that have waited for longer than they may are ended.
    """


@script("maintenance/index_statuses", library=RECORDS)
def index_statuses() -> int:
    """Put jobs into the indexes of rare statuses that do not name them; looks at the next 200 jobs."""


@script("maintenance/recount_running", library=ENGINES)
def recount_running() -> int:
    """Set right how many jobs of tenants run; looks at limits for 5 ms, 200 jobs of each, and at 200 that run.

    Answers how many were wrong, and of other limits that had room.
    """


@script("maintenance/trim_registries", library=ENGINES)
def trim_registries() -> int:
    """Drop jobs that are gone from the lists of failed ones and from RQ's registries; 1,000 at most."""


@script("maintenance/trim_indexes", library=RECORDS)
def trim_indexes(*, ttl: timedelta) -> int:
    """Look for dead entries in the indexes: of all jobs, of rare statuses, of 20 owners; 200 of each; once a minute."""


@script("maintenance/forget_dead_workers", library=ENGINES)
def forget_dead_workers() -> int:
    """Drop workers that are gone from RQ's lists; looks at 200 at most."""


@script("maintenance/enlist_deliveries", library=DELIVERING)
def enlist_deliveries() -> int:
    """Let webhooks take turns that an older version has stored; looks at 100 at most."""


def duties(*, ttl: timedelta, looks: int) -> list[Call[int]]:
    """List all duties in their order: a lease that an outage ran down is extended before any is taken for dead."""
    return [
        recover_expired_leases(ttl=ttl),
        move_due(),
        return_unadopted(),
        expire_unstarted(ttl=ttl),
        recover_lost(ttl=ttl, looks=looks),
        index_statuses(),
        recount_running(),
        trim_registries(),
        trim_indexes(ttl=ttl),
        forget_dead_workers(),
        enlist_deliveries(),
    ]


def do_all(book: Book, *, ttl: timedelta, looks: int) -> dict[str, int | Exception]:
    """Do one step of all duties; answers their numbers by name, or what one has failed of.

    Each call is a round trip of its own: Redis runs what comes in one without a pause, and others would wait for all.

    Raises:
        StoreUnavailable: Redis is away.

    """
    return {call.name: _do(book, call) for call in duties(ttl=ttl, looks=looks)}


def _do(book: Book, call: Call[int]) -> int | Exception:
    """Do a duty, again where it has found so much that there is more."""
    total = 0
    for _ in range(MOST_ROUNDS):
        try:
            done = book.run(call)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other duties are done
            return error
        total += done
        if done < MOVED_AT_ONCE:
            break
    return total


def count_fault(duty: str) -> Call[int]:
    """Count for /metrics that a duty has failed."""
    return Call("HINCRBY", [Key.METRICS, f"duty_faults|{duty}", 1], int, command=True)


def last_served(schedule: str) -> Call[datetime | None]:
    """Read up to when a schedule was served; None: never."""

    def parse(answer: bytes | None) -> datetime | None:
        return datetime.fromisoformat(answer.decode()) if answer else None

    return Call("GET", [Key.SCHEDULE + schedule], parse, command=True)


def serve_until(schedule: str, moment: datetime) -> Call[bool]:
    """Note that a schedule is served up to a moment."""
    return _serve_until(schedule, moment.astimezone(UTC).isoformat(), SCHEDULE_KEPT)


@script("maintenance/serve_until", library=())
def _serve_until(schedule: str, moment: str, kept: timedelta) -> bool: ...
