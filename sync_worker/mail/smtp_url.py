"""The mail server as one URL: `smtp://user:password@host:587?starttls=auto` or `smtps://…`."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Tls = Literal["auto", "always", "never", "wrapped"]

RELAY, SUBMISSION, WRAPPED = 25, 587, 465
STARTTLS: dict[str, Tls] = {"auto": "auto", "always": "always", "never": "never"}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Server:
    """Where mail is handed over. `tls` is when the connection is encrypted: `auto` if the server
    offers STARTTLS, `always` or not at all, `never`, or `wrapped` in TLS from the first byte.
    """

    host: str
    port: int
    tls: Tls = "auto"
    user: str | None = None
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse(url: str) -> Server:
    """Read an SMTP URL. User and password are percent-decoded.

    The port defaults to 465 for `smtps` (RFC 8314), to 587 (submission, RFC 6409) for `smtp` with
    a user, and to 25 (a relay) for `smtp` without one.

    Raises:
        ValueError: says what is wrong; never holds any part of the URL that may be a password.

    """
    parts = _split(url)
    user, password = _credentials(parts)
    tls = _tls(parts)
    default = WRAPPED if tls == "wrapped" else SUBMISSION if user else RELAY
    return Server(_host(parts), _port(parts) or default, tls, user, password)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its message may quote the password
        raise ValueError("not a URL") from None
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError("must begin with smtp:// or smtps://")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("nothing may follow the port but ?starttls=; in a password write / as %2F, # as %23, ? as %3F")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname
    if not host:
        raise ValueError("names no host")
    try:
        host.encode("idna")  # what the resolver will do
    except UnicodeError:
        raise ValueError("the host is not a name") from None
    return host


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:  # its message quotes what may be half a password
        raise ValueError("the port must be a number from 1 to 65535; in a password write : as %3A") from None
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    return port


def _credentials(parts: SplitResult) -> tuple[str | None, str]:
    if parts.username is None and parts.password is None:
        return None, ""
    try:
        user = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user and password must be UTF-8, percent-encoded") from None
    if not user or not password:
        raise ValueError("give both user and password, or neither")
    if CONTROL.search(user + password):
        raise ValueError("user and password must not hold control characters")
    return user, password


def _tls(parts: SplitResult) -> Tls:
    options = parse_qsl(parts.query, keep_blank_values=True)
    if [name for name, _ in options] not in ([], ["starttls"]):
        raise ValueError("the only option is starttls=auto, always or never")
    if parts.scheme == "smtps":
        if options:
            raise ValueError("smtps is encrypted from the start: starttls does not apply")
        return "wrapped"
    chosen = options[0][1] if options else "auto"
    if chosen not in STARTTLS:
        raise ValueError("starttls must be auto, always or never")
    return STARTTLS[chosen]
