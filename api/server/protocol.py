"""HTTP as uvicorn speaks it, with bounds on what a client may send before anybody has looked at its key.

Uvicorn's own parser takes heads of any size, and waits for the rest of a request for ever.
"""

import asyncio
from typing import Any

from ulid import ULID
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tandem.api.server.error_responses import problem

HEAD_MAX = 64 * 1024  # bytes of request line and headers
PATIENCE = 30.0  # seconds for a request to arrive, and besides
SLOWEST = 1024  # a second for so many bytes (Apache's mod_reqtimeout does the same)

NO_REQUEST = "this is no HTTP request"
TOO_LARGE = f"the request line and the headers may have at most {HEAD_MAX} bytes together"


class TooLarge(Exception):
    """A head exceeds `HEAD_MAX`. Raised inside the parser, which gives up."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, and closes a connection whose request does not come in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun = False  # in the data at hand
        self._in_head = self._incomplete = True
        self._arrived = 0  # bytes of a request after the data that it began in
        self._since = 0.0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._begun = False
        super().data_received(data)
        if not self._incomplete or self.transport.is_closing():
            self._forget()
            return
        if self._begun:  # what comes with one read is no more than 256 KiB
            self._forget()
            self._arrived = 0
        else:
            self._arrived += len(data)
        if self._in_head and self._arrived > HEAD_MAX:
            self._refuse(431, TOO_LARGE)
        elif not self._deadline:
            self._wait()

    def on_message_begin(self) -> None:
        self._begun = self._in_head = self._incomplete = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_MAX:
            self._refuse(431, TOO_LARGE)
            raise TooLarge
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._incomplete = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - said in our own words
        """Answer what the parser can't read, unless it was stopped."""
        if not self.transport.is_closing():
            self._refuse(400, NO_REQUEST)

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, detail, headers={"Connection": "close", "X-Request-ID": str(ULID())})
        headers = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + headers + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _wait(self) -> None:
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        left = self._since + PATIENCE + self._arrived / SLOWEST - self.loop.time()
        if left > 0:
            self._deadline = self.loop.call_later(left, self._look)
        else:
            self.transport.close()

    def _forget(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
