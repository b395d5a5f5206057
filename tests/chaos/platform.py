"""The processes of a run, each in a slot that is filled again when its process ends."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis

from tandem.deploy.local.ports import free_port
from tests.chaos.plan.model import SIZES, Role
from tests.support.processes import ROOT, Process, until
from tests.support.servers.valkey import Valkey
from tests.support.tasks import WITH_TASKS

ADMIN_KEY = "chaos-admin-key-0123456789"
USER_KEY = "chaos-user-key-0123456789abc"
CONCURRENCY = 20  # of each LLM worker
GRACE = 2  # seconds; less than a slow answer takes, so that restarts hand back
MODULES = {
    Role.GATEWAY: "tandem.api",
    Role.LLM: "tandem.llm_worker",
    Role.SYNC: "tandem.sync_worker",
    Role.CLOCK: "tandem.shared.maintenance",
}
READY = {Role.GATEWAY: "listening on", Role.LLM: "ready,", Role.SYNC: "ready", Role.CLOCK: "ready"}


@dataclass
class Slot:
    """A place for one process of a kind. `told`: it was told to end by itself."""

    role: Role
    number: int
    process: Process
    worker: str  # how the job book's `worker` of its jobs begins
    told: bool = False
    stopped: bool = False
    pause: float = 0.2  # before it is filled again
    ended: float | None = None

    @property
    def name(self) -> str:
        return f"{self.role} {self.number + 1}"

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal, unless it is gone."""
        if self.process.popen.poll() is None:
            self.process.popen.send_signal(signum)


@dataclass
class Platform:
    """Everything that runs; `ended` is called with each slot whose process has ended."""

    folder: Path
    valkey: Valkey
    env: Mapping[str, str]
    ports: list[int]
    slots: list[Slot] = field(default_factory=list)
    _started: int = 0

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def provider_log(self) -> Path:
        return self.folder / "provider.jsonl"

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def of(self, role: Role) -> list[Slot]:
        return [slot for slot in self.slots if slot.role is role]

    def redis(self) -> redis.Redis:
        """Open a client for the driver's own looks, which gives up soon."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=1.0, socket_connect_timeout=1.0)

    def start(self) -> None:
        """Fill all slots and wait until they work."""
        for role in MODULES:
            for number in range(SIZES[role]):
                self.slots.append(Slot(role, number, *self._process(role, number)))
        for slot in self.slots:
            slot.process.until_says(READY[slot.role], patience=60)

    def _process(self, role: Role, number: int) -> tuple[Process, str]:
        self._started += 1
        name = f"{role.replace(' ', '-')}-{number + 1}-{self._started:04}"
        env, arguments = dict(self.env), ["--name", name] if role is Role.SYNC else []
        if role is Role.GATEWAY:
            env["PORT"] = str(self.ports[number])
        command = [sys.executable, "-m", MODULES[role], *arguments]
        process = Process(command, env=env, log=self.folder / f"{name}.log")
        return process, name if role is Role.SYNC else f"-{process.popen.pid}-"

    def refill(self, ended: Callable[[Slot], None]) -> None:
        """Start again what has ended, after its pause; `ended` is told of each end once."""
        for slot in self.slots:
            if slot.process.popen.poll() is None:
                continue
            if slot.ended is None:
                slot.ended = time.time()
                ended(slot)
            elif time.time() - slot.ended >= slot.pause:
                slot.process, slot.worker = self._process(slot.role, slot.number)
                slot.told = slot.stopped = False
                slot.pause, slot.ended = 0.2, None

    def stop(self) -> None:
        """End all at once: nothing here has anything to save."""
        for slot in self.slots:
            slot.signal(signal.SIGKILL)
        for slot in self.slots:
            slot.process.popen.wait()


@contextmanager
def platform(folder: Path, *, rpm: int, seed: int) -> Iterator[Platform]:
    """Start the whole platform in `folder`, with tasks that misbehave."""
    for name in ("valkey", "run"):
        (folder / name).mkdir(parents=True)
    helpers: list[Process] = []
    valkey = Valkey(folder / "valkey")
    port = free_port()
    env = {
        **WITH_TASKS,
        "REDIS_URL": valkey.url,
        "RUN_DIR": str(folder / "run"),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": "none",
        "TANDEM_API_KEYS": f"boss:admin:{ADMIN_KEY},ann:user:{USER_KEY}",
        "TANDEM_LLM_RPM": str(rpm),
        "TANDEM_LLM_CONCURRENCY": str(CONCURRENCY),
        "TANDEM_GRACE": f"{GRACE}s",
        "TANDEM_LOG_FORMAT": "console",
    }
    running = Platform(folder, valkey, env, [free_port() for _ in range(SIZES[Role.GATEWAY])])
    try:
        options = ["--log", str(running.provider_log), "--seed", str(seed), "--port", str(port)]
        helpers += [
            _helper("tests.chaos.outside.provider", *options, env={}, log=folder / "provider.log"),
            _helper("tandem.deploy.local.mailbox", env=env, log=folder / "mailbox.log"),
        ]
        until((folder / "run/smtp.url").exists, what="the mail catcher's address")
        until(lambda: _listens(port), what="the provider's answer")
        running.start()
        yield running
    finally:
        running.stop()
        for helper in helpers:
            helper.stop(signal.SIGKILL)
        valkey.process.send_signal(signal.SIGCONT)
        valkey.kill()


def _helper(module: str, *arguments: str, env: Mapping[str, str], log: Path) -> Process:
    return Process([sys.executable, "-m", module, *arguments], env=env, log=log, cwd=ROOT)


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code > 0
    except httpx.HTTPError:
        return False
