"""Which scripts Redis keeps: each process gives it those that it lacks, the clock deletes those of other versions."""

import logging
from contextlib import closing, suppress

from redis.exceptions import RedisError, ResponseError

from tandem.shared.runtime.redis_client import client
from tandem.shared.store import commands, deliveries, events, leases, listing, maintenance, queues, submission
from tandem.shared.store.executor import Book
from tandem.shared.store.limits import explanation, operations
from tandem.shared.store.scripts import FUNCTIONS, SCRIPTS, Call

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
    operations,
)
NAME = b"library_name"
KEPT: Call[set[str]] = Call(
    "FUNCTION",
    ["LIST", "LIBRARYNAME", f"{FUNCTIONS}*"],
    lambda answer: {library[library.index(NAME) + 1].decode() for library in answer},
    command=True,
)


def load_scripts(url: str) -> None:
    """Give Redis those scripts that it lacks. What fails here, the first call of a script makes up for.

    It is some MB for the append-only file. Redis puts off writing to that while it is being synced, and what it has
    acknowledged meanwhile is lost if it is killed just then: better now than at the first submission.
    """
    with closing(client(url)) as connection:
        try:
            kept = KEPT.parse(connection.execute_command(KEPT.name, *KEPT.args))  # type: ignore[no-untyped-call]  # redis-py has no types here
            pipeline = connection.pipeline(transaction=False)
            for script in SCRIPTS.values():
                if script.function not in kept:
                    pipeline.function_load(script.source)
            pipeline.execute(raise_on_error=False)
        except RedisError as error:
            log.warning("Redis has not been given the scripts yet: %s", error)


def forget_other_versions(book: Book) -> list[str]:
    """Delete the scripts of other versions, which Redis would keep for ever; answers their names.

    A process of another version that still runs gives Redis its own again as it calls them.
    """
    others = sorted(book.run(KEPT) - {script.function for script in SCRIPTS.values()})
    for name in others:
        with suppress(ResponseError):  # another clock was faster
            book.run(Call("FUNCTION", ["DELETE", name], bool, command=True))
    return others
