"""One migration at a time, by a lock of the database itself: it lasts as long as who holds it, whatever Redis says.

The job's own lock ends with its lease, which a run that nobody hears may outlive. This one belongs to the migration's
connection in PostgreSQL, and to its process with SQLite. Other databases have none here.
"""

import sqlite3
from datetime import timedelta

from sqlalchemy import Connection, text

from tandem.shared.errors import Snooze

AGAIN = timedelta(seconds=1)  # who finds another one at work waits in the queue for that, and keeps no process busy
KEY = int.from_bytes(b"tandem", "big")  # of the advisory lock, in each database one: 127961812723053
TAKE = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=KEY)


class Locks:
    """What one run holds: its `env.py` may go through several databases, or twice through one."""

    def __init__(self) -> None:
        self._files: dict[str, sqlite3.Connection] = {}

    def take(self, connection: Connection) -> None:
        """Take a database's lock until the connection and this are closed: not before the migration is committed.

        Raises:
            Snooze: another migration holds it.

        """
        name = connection.dialect.name
        if name == "postgresql" and not connection.scalar(TAKE):
            raise Snooze(AGAIN, why="another migration is at work")
        if name == "sqlite" and (file := _file(connection)) and file not in self._files:
            self._files[file] = _take_beside(file)

    def close(self) -> None:
        """Give back those of SQLite."""
        while self._files:
            self._files.popitem()[1].close()


def _file(connection: Connection) -> str:
    """Say where the database is; "" if in memory, where nobody else sees it."""
    return next(str(row[2] or "") for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")


def _take_beside(file: str) -> sqlite3.Connection:
    """Lock an empty database beside it: a lock on itself would end with each commit."""
    beside = sqlite3.connect(f"{file}-migration", timeout=0, isolation_level=None)
    try:
        beside.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        beside.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise Snooze(AGAIN, why="another migration is at work") from None
    return beside
