"""Free ports for the helpers, the same ones after a restart where possible."""

import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

PORTS = range(15_000, 30_000)  # outgoing connections take theirs from above: 32,768 on Linux, 49,152 on macOS


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Choose a free port that no outgoing connection can take before somebody listens there."""
    while not is_free(host, port := secrets.choice(PORTS)):
        pass
    return port


def record(path: Path, url: str) -> None:
    """Write down an address, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(f"{url}\n")
    part.replace(path)


def _port(recorded: Path) -> int | None:
    try:
        return urlsplit(recorded.read_text().strip()).port
    except (OSError, ValueError):
        return None


def choose(recorded: Path) -> int:
    """Choose the port of the URL in `recorded` if it is still free, else any free one."""
    port = _port(recorded)
    if port and is_free("127.0.0.1", port):
        return port
    return free_port()
