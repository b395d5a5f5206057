"""RQ's Worker without what would end it, hold it up, or let others command it."""

import time
from contextlib import suppress
from typing import Any

from redis.exceptions import OutOfMemoryError, RedisError
from rq import Worker

from tandem.shared.runtime.redis_client import Client

BEAT = 0.5  # seconds


class RqWorker(Worker):
    """RQ's registration and outer loop; what it shows in Redis is for those who look, and decides nothing."""

    _next_beat = 0.0
    _registered = False

    def _set_connection(self, connection: Client) -> Client:
        """Leave the time-outs as they are: RQ raises them to 415 s, for which a dead connection would deafen it."""
        return connection

    def register_birth(self) -> None:
        """Take the name over; RQ refuses it for eight minutes after its last bearer was killed.

        While Redis's memory is full the worker can't be shown, and works all the same; a heartbeat makes up for it.
        """
        self.connection.delete(self.key)
        with suppress(OutOfMemoryError):
            super().register_birth()  # type: ignore[no-untyped-call]  # RQ has no types here
            self._registered = True

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Show that the worker lives and what it does, in one request, twice a second at most.

        An outage of Redis must not end it.
        """
        del pipeline
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + BEAT
        with suppress(RedisError), self.connection.pipeline(transaction=False) as beat:
            if not self._registered:
                self.register_birth()
            super().heartbeat(timeout, beat)
            super().set_state(self.get_state(), beat)
            beat.execute()

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Note what the worker does, for its next heartbeat; the dashboard asks the job book (`ShownWorker`)."""
        del pipeline
        self._state = state

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001 - RQ's signature
        """No suspension by `rq suspend`: whoever can write to Redis must not stop workers."""

    def run_maintenance_tasks(self) -> None:
        """RQ's maintenance fails jobs of dead workers; the clock gives them back instead."""

    def subscribe(self) -> None:
        """No commands by pub/sub: writing to Redis must not end processes. Also: no thread to fork with."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""
