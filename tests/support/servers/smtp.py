"""Real SMTP servers for tests: one that keeps what it gets, one that says what it is told to."""
# ruff: noqa: ARG002 - aiosmtpd calls its hooks with all of these

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tandem.deploy.local.ports import free_port

USER, PASSWORD = "ada@example.com", "p@ss:w/rd #1"


@dataclass
class Received:
    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    options: list[str]


@dataclass
class Inbox:
    """Keeps mails; answers as told. `login` None: AUTH is not offered. `lost`: answers to mails that get lost."""

    replies: Mapping[str, str] = field(default_factory=dict)
    mail: str | None = None
    data: str | None = None
    max_recipients: int = 10_000
    login: tuple[str, str] | None = None
    received: list[Received] = field(default_factory=list)
    logins: int = 0
    lost: int = 0

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.mail:
            return self.mail
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.replies:
            return self.replies[address]
        if len(envelope.rcpt_tos) >= self.max_recipients:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data:
            return self.data
        self.received.append(
            Received(
                envelope.mail_from or "",
                list(envelope.rcpt_tos),
                envelope.original_content or b"",
                session.ssl is not None,
                list(envelope.mail_options),
            )
        )
        if self.lost:
            self.lost -= 1
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins += 1
        return AuthResult(success=(data.login.decode(), data.password.decode()) == self.login, handled=False)


@contextmanager
def serve(
    inbox: Inbox, *, host: str = "127.0.0.1", wrapped: ssl.SSLContext | None = None, **options: Any
) -> Iterator[int]:
    """Run a server for `inbox`; the value is its port."""
    if inbox.login:
        options |= {"authenticator": inbox.authenticate}
    controller = Controller(inbox, hostname=host, port=free_port(), ssl_context=wrapped, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextmanager
def scripted(*answers: str | None) -> Iterator[int]:
    """Run a server for one connection: a greeting, then one answer a line, whatever it says.

    An empty answer is not sent. It hangs up after the last one; None as the last one: it keeps
    silent until the client goes.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_recite, args=(listener, answers))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


def _recite(listener: socket.socket, answers: Sequence[str | None]) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        for number, answer in enumerate(answers):
            if number:
                lines.readline()
            if answer is None:
                lines.read()
            elif answer:
                connection.sendall(answer.encode() + b"\r\n")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for localhost; whoever trusts the file trusts the server with the context."""
    file, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-addext", names, "-keyout", str(key), "-out", str(file)], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    return file, context
