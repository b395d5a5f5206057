"""The guarded client: GET a URL that a user gave, without reaching anything but the public internet.

The host is resolved once, every address is checked, and the connection goes to a checked address;
TLS still verifies the host's name. No redirects, no proxy of the environment, a limit on bytes, and
a limit on time that a slow server can't stretch by sending drop by drop.
"""

import socket
import ssl
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION, NetworkBackend, NetworkStream

from tandem.shared.errors import FinalError, TransientError
from tandem.shared.net.resolver import refusal, resolve
from tandem.shared.net.ssrf import RefusedUrl, Target, check_url, shorten

RETRYABLE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
FETCH_FAILED = "fetch_failed"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one fetch: body size, and seconds from the look-up to the last byte."""

    bytes: int = 10 * 1024 * 1024
    seconds: float = 15.0


@dataclass(frozen=True)
class Answer:
    """A successful answer, read whole. Header names are lower-case."""

    url: str
    headers: dict[str, str]
    body: bytes


class Deadline:
    """A point in time, as the timeout that is left until then."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left.

        Raises:
            httpcore.ReadTimeout: none.

        """
        if (seconds := self._end - time.monotonic()) <= 0:
            raise httpcore.ReadTimeout
        return seconds


@dataclass(kw_only=True)
class Client:
    """GET for URLs from outside. `allow_private` is for development and tests only."""

    schemes: Collection[str] = ("https",)
    limits: Limits = field(default_factory=Limits)
    allow_private: bool = False

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # The system's authorities (and SSL_CERT_FILE), with certifi's beside them. Made when first
        # needed: it is megabytes that most jobs don't use.
        return httpcore.default_ssl_context()

    def get(self, url: str) -> Answer:
        """Fetch `url` with one request.

        Raises:
            RefusedUrl: the URL, an address of its host or a redirect is not allowed.
            FinalError: an answer that another attempt would not change, or one that is too large.
            TransientError: no connection, too slow, or the server's own failure (5xx, 408, 425, 429).

        """
        target = check_url(url, schemes=self.schemes, allow_private=self.allow_private)
        backend = Guarded(url, Deadline(self.limits.seconds), allow_private=self.allow_private)
        try:
            with httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
                return self._request(pool, url, target)
        except httpcore.TimeoutException as error:
            raise transient(url, f"it took longer than {self.limits.seconds:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            if isinstance(cause := error.args[0] if error.args else None, ssl.SSLCertVerificationError):
                raise final(url, f"its certificate is not valid: {cause.verify_message}") from error
            raise transient(url, str(error) or type(error).__name__) from error

    def _request(self, pool: httpcore.ConnectionPool, url: str, target: Target) -> Answer:
        headers = [
            ("Host", target.authority),
            ("User-Agent", "Tandem"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ]
        place = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        with pool.stream("GET", place, headers=headers) as response:
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            _check_answer(url, response.status, found)
            body = bytearray()
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > self.limits.bytes:
                    raise final(url, f"it is larger than {self.limits.bytes} bytes")
        return Answer(url, found, bytes(body))


def _check_answer(url: str, status: int, headers: dict[str, str]) -> None:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        goal = shorten(headers.get("location", "nowhere"))
        raise RefusedUrl(url, f"it redirects ({status}) to {goal}, and redirects are not followed")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE:
        raise transient(url, f"the server answered {status}")
    if status != HTTPStatus.OK:
        raise final(url, f"the server answered {status}")
    if (encoding := headers.get("content-encoding", "identity")) != "identity":
        raise final(url, f"the server sent it {encoding}-compressed without being asked")


def final(url: str, reason: str) -> FinalError:
    return FinalError(f"{shorten(url)} could not be fetched: {reason}", type=FETCH_FAILED)


def transient(url: str, reason: str) -> TransientError:
    return TransientError(f"{shorten(url)} could not be fetched: {reason}", type=FETCH_FAILED)


class Guarded(NetworkBackend):
    """Connects to checked addresses only; one for each fetch."""

    def __init__(self, url: str, deadline: Deadline, *, allow_private: bool) -> None:
        self._url = url
        self._deadline = deadline
        self._allow_private = allow_private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        addresses = self._resolve(host, port)
        if refused := refusal(addresses, allow_private=self._allow_private):
            raise RefusedUrl(self._url, f"its host has the address {refused.address}, which is {refused.reason}")
        failure: Exception = httpcore.ConnectError("no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                # A dead address must not use up the time of the next one.
                share = self._deadline.left() / left
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
                return Timed(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _resolve(self, host: str, port: int) -> list[str]:
        try:
            return resolve(host, port, patience=self._deadline.left())
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                raise final(self._url, f"there is no host {host}") from None
            raise httpcore.ConnectError(f"the host {host} could not be looked up") from error


class Timed(NetworkStream):
    """A stream whose every step has only the time that is left of the whole."""

    def __init__(self, stream: NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._deadline.left())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> NetworkStream:
        return Timed(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()
