"""Reading many jobs: listings, and the indexes behind them."""

from dataclasses import dataclass
from typing import Any

from tandem.shared.store.scripts import KEYS, Call


@dataclass(frozen=True)
class Filter:
    """What a listing shows; empty strings and zero don't filter. `ended_after` is in milliseconds since 1970."""

    owner: str = ""
    task: str = ""
    queue: str = ""
    status: str = ""
    ended_after: int = 0


Position = tuple[str, str]  # score and id of the entry a listing goes on after
START: Position = ("+inf", "")


@dataclass(frozen=True)
class Page:
    """Ids, newest first, and where to go on; None at the end."""

    ids: list[str]
    next: Position | None


def page(which: Filter, *, after: Position = START, limit: int) -> Call[Page]:
    """Read one stretch of a listing. It may hold fewer than `limit` ids and yet have a `next`."""

    def parse(answer: Any) -> Page:
        position = (answer[1].decode(), answer[2].decode()) if len(answer) > 1 else None
        return Page([id_.decode() for id_ in answer[0]], position)

    args = [which.owner, *after, limit, which.task, which.queue, which.status, which.ended_after]
    return Call("list", args, parse)


def trim(owner: str, *, start: int, dry_run: bool) -> Call[tuple[int, int | None]]:
    """Drop entries without a record from a stretch of an index; answers how many, and where to go on."""
    return Call(
        "trim",
        [owner, start, int(dry_run)],
        lambda answer: (int(answer[0]), None if answer[1] < 0 else int(answer[1])),
    )


def owners() -> Call[list[str]]:
    """Read the names of all owners that ever submitted."""
    return Call("SMEMBERS", [KEYS["OWNERS"]], lambda answer: sorted(name.decode() for name in answer), command=True)
