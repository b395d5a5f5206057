"""Free ports for the helpers, the same ones after a restart where possible."""

import socket
from pathlib import Path
from urllib.parse import urlsplit


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def choose(recorded: Path) -> int:
    """Choose the port of the URL in `recorded` if it is still free, else any free one."""
    if recorded.exists():
        port = urlsplit(recorded.read_text().strip()).port
        if port and is_free("127.0.0.1", port):
            return port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
