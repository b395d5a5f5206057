"""Reading many jobs: listings, and the indexes behind them."""

from dataclasses import dataclass
from typing import NamedTuple

from tandem.shared.store.keys import Key
from tandem.shared.store.scripts import RECORDS, Call, Flag, script


@dataclass(frozen=True)
class Filter:
    """What a listing shows; empty strings and zero don't filter. `ended_after` is in milliseconds since 1970."""

    owner: str = ""
    task: str = ""
    queue: str = ""
    status: str = ""
    ended_after: int = 0


class Position(NamedTuple):
    """The entry that a listing goes on after."""

    score: str
    id: str


START = Position("+inf", "")


@dataclass(frozen=True)
class Page:
    """Ids, newest first, and where to go on; None at the end."""

    ids: list[str]
    next: Position | None


def page(which: Filter, *, after: Position = START, limit: int) -> Call[Page]:
    """Read one stretch of a listing: it looks at 250 jobs, of all, of the owner's or of those of a rare status.

    It may hold fewer than `limit` ids and yet have a `next`.
    """
    return _page(
        owner=which.owner or None,
        score=after.score,
        after=after.id,
        limit=limit,
        task=which.task or None,
        queue=which.queue or None,
        status=which.status or None,
        ended_after=which.ended_after,
    )


@script("queues/list", library=RECORDS, flag=Flag.NO_WRITES)
def _page(
    *,
    owner: str | None,
    score: str,
    after: str,
    limit: int,
    task: str | None,
    queue: str | None,
    status: str | None,
    ended_after: int,
) -> Page: ...


class Trimmed(NamedTuple):
    """How many entries had no record, and where to go on; None at the end."""

    dead: int
    next: int | None


@script("queues/trim_index", library=RECORDS)
def trim(owner: str | None, *, start: int, dry_run: bool) -> Trimmed:
    """Drop entries without a record from a stretch of 250 entries of an index; None is the index of all jobs."""


def owners() -> Call[list[str]]:
    """Read the names of all owners that ever submitted."""
    return Call("SMEMBERS", [Key.OWNERS], lambda answer: sorted(name.decode() for name in answer), command=True)
