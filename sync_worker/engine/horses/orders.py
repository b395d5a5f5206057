"""What a horse is told and what it answers, over a pair of sockets.

It is told the lease of its job, as JSON, with its place (engine/leases/lease_end.py). It says that it has begun, and
that the outcome is written.
"""

import json
import select
import socket
from contextlib import suppress
from datetime import datetime

from tandem.shared.store.leases import Lease

BEGUN, WRITTEN = b"!", b"."
CHUNK = 64 * 1024  # bytes


class Orders:
    """Both ends, made before the fork; each side closes the other's."""

    def __init__(self) -> None:
        self._workers, self._horses = socket.socketpair()
        self._unsent = memoryview(b"")
        self._listens = True
        self.begun = False  # the horse has said so
        self.written = False  # as well

    # --- the worker's side

    def keep_workers_end(self) -> None:
        self._horses.close()
        self._workers.settimeout(0)

    def send(self, lease: Lease, place: int) -> None:
        """Begin to send: a large lease, or one for a suspended process, is not taken at once. See `go_on`."""
        self._unsent = memoryview(_text(lease, place))
        self._push()

    def watch(self, poll: select.poll) -> None:
        """Wait with others for what `go_on` does."""
        if self._listens:
            poll.register(self._workers, select.POLLIN | (select.POLLOUT if self._unsent else 0))

    def go_on(self) -> None:
        """Send what fits, and hear what was said. A horse that is dead says so by its end."""
        if self._unsent:
            self._push()
        if not self._listens:
            return
        try:
            said = self._workers.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self.begun = self.begun or BEGUN in said
        self.written = self.written or WRITTEN in said
        self._listens = bool(said)

    def close(self) -> None:
        self._workers.close()

    def _push(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._workers.send(self._unsent[:CHUNK]) :]
            self._workers.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return  # `go_on` sends the rest
        except OSError:  # the horse is dead: its end says so, and the job gets another one
            self._unsent = memoryview(b"")

    # --- the horse's side

    def keep_horses_end(self) -> None:
        self._workers.close()
        self._horses.settimeout(None)  # whatever an imported module has made the default

    def receive(self) -> tuple[Lease, int] | None:
        """Wait for the lease and its place; None if there will be none."""
        read = bytearray()
        while chunk := self._horses.recv(CHUNK):
            read += chunk
        return _read(read) if read else None

    def say_begun(self) -> None:
        """Say that from now on it is an attempt."""
        self._horses.sendall(BEGUN)

    def say_written(self) -> None:
        """Say that no more is to be done. Its job may have closed this file with all others: then its end says so."""
        with suppress(OSError):
            self._horses.sendall(WRITTEN)


def _text(lease: Lease, place: int) -> bytes:
    return json.dumps([{**vars(lease), "created_at": lease.created_at.isoformat()}, place]).encode()


def _read(text: bytearray) -> tuple[Lease, int]:
    fields, place = json.loads(text)
    return Lease(**{**fields, "created_at": datetime.fromisoformat(fields["created_at"])}), place
