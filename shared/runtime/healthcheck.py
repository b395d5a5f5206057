"""`python -m tandem.shared.runtime.healthcheck PART`: what a container's HEALTHCHECK runs.

PART is the module that the container runs (`tandem.api`, `tandem.llm_worker`, `tandem.sync_worker`,
`tandem.shared.maintenance`, `tandem.sync_worker.dashboard`). Exit 0 if it does its duty; else 1, and one line says
what is wrong.
A part with a port must answer on it; any other must be a process that is neither stopped nor a zombie.
Redis must answer to all of them: the gateway's `/readyz` tells, for the rest it is asked here.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path

from redis.exceptions import RedisError

from tandem.shared.runtime.redis_client import client

TIMEOUT = 3.0  # seconds
# Part: variable of the port, its default, the path to ask and the answer of a healthy part.
PORTS = {
    "tandem.api": ("PORT", 8000, "/readyz", 200),
    "tandem.sync_worker.dashboard": ("DASHBOARD_PORT", 9181, "/", 401),  # it asks for the admin key
}
IDLE_STATES = "TtZXx"  # stopped, traced, zombie, dead: proc(5)


class Unhealthy(Exception):
    """The part does not do its duty; the message is one line."""


def check(part: str, *, processes: Path = Path("/proc")) -> None:
    """Raise Unhealthy unless `part` does its duty."""
    if part in PORTS:
        variable, default, path, healthy = PORTS[part]
        _answers(int(os.environ.get(variable) or default), path, healthy)
    elif not any(_runs(process, part) for process in processes.glob("[0-9]*")):
        raise Unhealthy(f"no process runs `python -m {part}`")
    if part != "tandem.api":
        _redis_answers()


def _answers(port: int, path: str, healthy: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Unhealthy(f"port {port} does not answer: {error}") from None
    finally:
        connection.close()
    if status != healthy:
        raise Unhealthy(f"{path} on port {port} answered {status}")


def _runs(process: Path, module: str) -> bool:
    """Tell whether this folder of /proc is a live process with `-m module` in its command line."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        state = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # it ended meanwhile, or is another user's
        return False
    return (b"-m", module.encode()) in pairwise(words) and state not in IDLE_STATES


def _redis_answers() -> None:
    url = os.environ.get("REDIS_URL")
    if not url:
        raise Unhealthy("REDIS_URL is unset")
    try:
        with client(url, timeout=TIMEOUT) as connection:
            connection.ping()
    except (RedisError, ValueError) as error:
        raise Unhealthy(f"Redis does not answer: {error}") from None


def main() -> None:
    if len(sys.argv) != 2:  # noqa: PLR2004 - the command and one part
        raise SystemExit("usage: python -m tandem.shared.runtime.healthcheck PART")
    try:
        check(sys.argv[1])
    except Unhealthy as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
