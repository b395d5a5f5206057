"""Each new job wakes one idle worker: a blocking read whose answer is waited for together with the horses."""

import time
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from tandem.shared.runtime.redis_client import TIMEOUT, Client
from tandem.shared.store.keys import Key

WAIT = 1  # seconds until the server ends a listening; a wake-up that got lost costs this much


class Wakeup:
    """Listens on a connection of its own."""

    def __init__(self, client: Client) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None  # redis-py has no types here
        self._began = 0.0

    def listen(self) -> None:
        """Ask to be woken, unless that is asked already."""
        if self._connection is not None:
            return
        connection = self._pool.get_connection()
        try:
            connection.send_command("BLPOP", Key.WAKEUP + "sync", WAIT)
        except BaseException:
            self._give_back(connection)
            raise
        self._connection, self._began = connection, time.monotonic()

    @property
    def files(self) -> list[int]:
        """What becomes readable with the answer, if one is waited for."""
        return [] if self._connection is None else [self._connection._sock.fileno()]  # noqa: SLF001 - what select needs

    def heard(self) -> bool:
        """Tell whether somebody was woken. Raises RedisError: the connection is lost."""
        connection = self._connection
        if connection is None or not self._has_come(connection):
            return False
        self._connection = None
        try:
            return connection.read_response() is not None
        finally:
            self._give_back(connection)

    def _has_come(self, connection: Any) -> bool:
        try:
            has_come = bool(connection.can_read(timeout=0))
        except RedisError:
            self._connection = None
            self._give_back(connection)
            raise
        if not has_come and time.monotonic() - self._began > WAIT + TIMEOUT:
            self._connection = None
            connection.disconnect()
            self._give_back(connection)
        return has_come

    def _give_back(self, connection: Any) -> None:
        with suppress(RedisError):
            self._pool.release(connection)
