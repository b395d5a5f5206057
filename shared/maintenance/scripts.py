"""Which scripts Redis keeps: each process gives it those that it lacks, the clock deletes those of other versions."""

import logging
from contextlib import closing, suppress
from typing import Any

from redis.exceptions import RedisError, ResponseError

from tandem.shared.runtime.redis_client import Client, client
from tandem.shared.store import commands, deliveries, events, leases, listing, maintenance, queues, submission
from tandem.shared.store.executor import Book, is_already_there
from tandem.shared.store.limits import explanation, fairness, operations
from tandem.shared.store.scripts import FUNCTIONS, SCRIPTS, Call, Script

log = logging.getLogger("tandem.book")

# What declares scripts: all of them are known to each process, or the clock would delete what others call.
DECLARING = (
    commands,
    deliveries,
    events,
    leases,
    listing,
    maintenance,
    queues,
    submission,
    explanation,
    fairness,
    operations,
)


def _names(answer: Any) -> set[str]:
    return {_fields(library)[b"library_name"].decode() for library in answer}


def _fields(library: Any) -> dict[bytes, Any]:
    """Read a table of RESP 3, which RESP 2 gives as a flat list."""
    return library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))


KEPT = Call("FUNCTION", ["LIST", "LIBRARYNAME", f"{FUNCTIONS}*"], _names, command=True)


def load_scripts(url: str) -> None:
    """Give Redis those scripts that it lacks. What fails here, the first call of a script makes up for.

    It is some MB for the append-only file. Redis puts off writing to that while it is being synced, and what it has
    acknowledged meanwhile is lost if it is killed just then: better now than at the first submission.
    """
    with closing(client(url)) as connection:
        _load_missing(connection)


def _load_missing(connection: Client) -> None:
    try:
        kept = KEPT.parse(connection.execute_command(KEPT.name, *KEPT.args))  # type: ignore[no-untyped-call]  # redis-py has no types here
        for script in SCRIPTS.values():
            if script.function not in kept:
                _load(connection, script)
    except RedisError as error:
        log.warning("Redis has not been given the scripts yet: %s", error)


def _load(connection: Client, script: Script) -> None:
    """Load one script in a round trip of its own: Redis runs what comes in one without a pause, and others wait."""
    try:
        connection.function_load(script.source)
    except ResponseError as error:
        if not is_already_there(error):
            raise


def forget_other_versions(book: Book) -> list[str]:
    """Delete the scripts of other versions, which Redis would keep for ever; answers their names.

    A process of another version that still runs gives Redis its own again as it calls them. While Redis takes none,
    as its memory is full, nothing is deleted: that process ends its work by them.
    """
    _load_missing(book.client)
    ours = {script.function for script in SCRIPTS.values()}
    if not ours <= (kept := book.run(KEPT)):
        return []
    others = sorted(kept - ours)
    for name in others:
        with suppress(ResponseError):  # another clock was faster
            book.run(Call("FUNCTION", ["DELETE", name], bool, command=True))
    return others
