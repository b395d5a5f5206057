"""The processes of a run, each in a slot that is filled again when its process ends."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tandem.deploy.local.ports import free_port
from tandem.sync_worker.engine.horses.horse import AT_WORK
from tandem.sync_worker.engine.memory import children, family
from tests.chaos.faults.disk import Disk
from tests.chaos.faults.network import Network
from tests.chaos.faults.wrong_time import WrongTime
from tests.chaos.outside.webhook_receiver import SECRET
from tests.chaos.plan.model import SIZES, SLOTS, Plan, Role
from tests.support.processes import ROOT, Process, until
from tests.support.servers.valkey import Valkey
from tests.support.tasks import WITH_TASKS

ADMIN_KEY = "chaos-admin-key-0123456789"
USER_KEY = "chaos-user-key-0123456789abc"
OTHER_KEY = "chaos-other-key-0123456789ab"
KEYS = {"boss": ADMIN_KEY, "ann": USER_KEY, "bob": OTHER_KEY}  # by owner
CONCURRENCY = 40  # of each LLM worker
START = 150.0  # seconds until all is up, on a machine that does other things as well
GRACE = 2  # seconds; less than a slow answer takes, so that restarts hand back
MODULES = {
    Role.GATEWAY: "tandem.api",
    Role.LLM: "tandem.llm_worker",
    Role.SYNC: "tandem.sync_worker",
    Role.CLOCK: "tandem.shared.maintenance",
}
OUTSIDE = ("provider", "mail_server", "webhook_receiver")
READY = {Role.GATEWAY: "listening on", Role.LLM: "ready,", Role.SYNC: "ready", Role.CLOCK: "ready"}


@dataclass
class Slot:
    """A place for one process of a kind. `told`: it was told to end by itself."""

    role: Role
    number: int
    process: Process
    worker: str  # what the job book's `worker` of its jobs contains
    name: str  # of this incarnation, as in the logs outside
    ready: float | None = None  # when it worked
    told: bool = False
    stopped: bool = False
    hit: bool = False  # it was killed, or what it stands on
    pause: float = 0.2  # before it is filled again
    ended: float | None = None
    _seen: tuple[int | None, float] | None = None  # the process of a job, and when it was seen first

    @property
    def outer(self) -> int:
        """The process that whoever started it knows: a sync worker's supervisor."""
        return self.process.popen.pid

    @property
    def pid(self) -> int | None:
        """The process that works; None if it is not there."""
        if self.role is not Role.SYNC:
            return self.outer if self.process.popen.poll() is None else None
        return next(iter(children(self.outer)), None)

    @property
    def horse(self) -> int | None:
        """The process of a sync worker's job: others wait for theirs, or are on their way out, which are elder."""
        found = children(self.pid or 0) if self.role is Role.SYNC else []
        at_work = [pid for pid in found if _name(pid) == AT_WORK]
        return at_work[-1] if at_work else None

    def job_age(self) -> float:
        """Give the seconds for which a sync worker's job has run, or fewer: since one of these looks saw it first."""
        horse, now = self.horse, time.monotonic()
        if self._seen is None or self._seen[0] != horse:
            self._seen = horse, now
        return now - self._seen[1]

    @property
    def works(self) -> bool:
        """Say whether it is ready, and nobody has done anything to it."""
        touched = self.told or self.stopped or self.hit
        return self.ended is None and self.ready is not None and not touched and self.pid is not None

    def kill(self) -> None:
        """End it and all that it started."""
        for pid in list(family([self.outer])):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _name(pid: int) -> bytes:
    """Give what the process is called; nothing if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes().strip()
    return b""


@dataclass
class Platform:
    """Everything that runs, and where what is seen outside is written down."""

    folder: Path
    valkey: Valkey
    clock: WrongTime  # Redis's
    network: Network
    storage: Disk
    receiver: str  # of webhooks: its URL
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
    def mail_log(self) -> Path:
        return self.folder / "mails.jsonl"

    @property
    def webhook_log(self) -> Path:
        return self.folder / "webhooks.jsonl"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def disk(self) -> Path:
        """What the store of artefacts lies on."""
        return self.folder / "disk"

    @property
    def files(self) -> Path:
        """The store of artefacts."""
        return self.disk / "files"

    def slot(self, role: Role, number: int) -> Slot:
        """Give the slot in which such a process is, or belongs."""
        return [slot for slot in self.slots if slot.role is SLOTS.get(role, role)][number]

    def redis(self, *, patience: float = 1.0) -> redis.Redis:
        """Open a client for the driver's own looks, which gives up after so many seconds."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=patience, socket_connect_timeout=patience)

    def start(self) -> None:
        """Fill all slots and wait until they work."""
        for role in MODULES:
            for number in range(SIZES[role]):
                self.slots.append(Slot(role, number, *self._process(role, number)))
        for slot in self.slots:
            slot.process.until_says(READY[slot.role], patience=START)

    def _process(self, role: Role, number: int) -> tuple[Process, str, str]:
        """Start a process; gives it, what the job book calls it, and what it is called outside."""
        self._started += 1
        name = f"{role.replace(' ', '-')}-{number + 1}-{self._started:04}"
        own = {
            Role.GATEWAY: {"PORT": str(self.ports[number])} if role is Role.GATEWAY else {},
            Role.LLM: {"OPENAI_API_KEY": name},
            Role.SYNC: {"JOURNAL_WORKER": name},
        }
        arguments = ["--name", name] if role is Role.SYNC else []
        command = [sys.executable, "-m", MODULES[role], *arguments]
        process = Process(command, env={**self.env, **own.get(role, {})}, log=self.folder / f"{name}.log")
        return process, name if role is Role.SYNC else f"-{process.popen.pid}-", name

    def refill(self, ended: Callable[[Slot], None], ready: Callable[[Slot], None]) -> None:
        """Start again what has ended, after its pause; `ended` and `ready` are told of each end and start once."""
        for slot in self.slots:
            if slot.process.popen.poll() is None:
                if slot.ready is None and READY[slot.role] in slot.process.output:
                    slot.ready = time.time()
                    ready(slot)
                continue
            if slot.ended is None:
                slot.ended = time.time()
                ended(slot)
            elif time.time() - slot.ended >= slot.pause:
                slot.process, slot.worker, slot.name = self._process(slot.role, slot.number)
                slot.told = slot.stopped = slot.hit = False
                slot.pause, slot.ended, slot.ready = 0.2, None, None

    def stop(self) -> None:
        """End all at once: nothing here has anything to save."""
        for slot in self.slots:
            slot.kill()
        for slot in self.slots:
            slot.process.popen.wait()


@contextmanager
def platform(folder: Path, plan: Plan) -> Iterator[Platform]:
    """Start the whole platform in `folder`, with tasks that misbehave, and all that is outside of it."""
    for name in ("valkey", "run", "disk"):
        (folder / name).mkdir(parents=True)
    ports = {name: free_port() for name in OUTSIDE}
    clock = WrongTime(folder / "wrong-time")
    valkey = Valkey(folder / "valkey", env=clock.environment)
    network = Network(folder, Path(f"{valkey.folder}/valkey.sock"))
    receiver = f"http://127.0.0.1:{ports['webhook_receiver']}/"
    storage = Disk(folder / "disk")
    gateways = [free_port() for _ in range(SIZES[Role.GATEWAY])]
    running = Platform(folder, valkey, clock, network, storage, receiver, {}, gateways)
    running.env = _environment(running, plan, ports)
    helpers: list[Process] = []
    try:
        for name, log in zip(OUTSIDE, (running.provider_log, running.mail_log, running.webhook_log), strict=True):
            options = ["--log", str(log), "--seed", str(plan.seed), "--port", str(ports[name])]
            helpers.append(_helper(f"tests.chaos.outside.{name}", *options, log=folder / f"{name}.log"))
        for name, port in ports.items():
            until(lambda port=port: _listens(port), what=f"the {name}'s port")  # type: ignore[misc]  # bound now
        running.start()
        yield running
    finally:
        running.stop()
        for helper in helpers:
            helper.stop(signal.SIGKILL)
        network.close()
        storage.close()
        valkey.process.send_signal(signal.SIGCONT)
        valkey.kill()


def _environment(running: Platform, plan: Plan, ports: Mapping[str, int]) -> dict[str, str]:
    """Give the settings that all processes have in common."""
    config = running.folder / "tandem.toml"
    config.write_text(_config(plan, f"http://127.0.0.1:{ports['provider']}/v1"))
    return {
        **WITH_TASKS,
        "REDIS_URL": running.network.url,
        "RUN_DIR": str(running.folder / "run"),
        "TANDEM_FILES_URL": f"file://{running.files}",
        "TANDEM_CONFIG": str(config),
        "OPENAI_API_KEY": "none",
        "SMTP_URL": f"smtp://127.0.0.1:{ports['mail_server']}",
        "JOURNAL": str(running.journal),
        "TANDEM_WEBHOOK_SECRET": SECRET,
        "TANDEM_ALLOW_PRIVATE_WEBHOOKS": "1",
        "TANDEM_API_KEYS": f"boss:admin:{ADMIN_KEY},ann:user:{USER_KEY},bob:user:{OTHER_KEY}",
        "TANDEM_LLM_CONCURRENCY": str(CONCURRENCY),
        "TANDEM_GRACE": f"{GRACE}s",
        "TANDEM_LOG_FORMAT": "console",
    }


def _config(plan: Plan, provider: str) -> str:
    """Write the file that TANDEM_CONFIG names: one provider, the models that have limits, the schedules."""
    lines = ["[providers.chaos]", f'base_url = "{provider}"', 'api_key_env = "OPENAI_API_KEY"']
    for model, limit in plan.limits.items():
        values = {"rpm": limit.rpm, "tpm": limit.tpm}
        lines += [f'[models."{model}"]', *(f"{name} = {value}" for name, value in values.items() if value)]
    for name in plan.schedules:
        lines += ["[[schedules]]", f'name = "{name}"', 'task = "journal"', 'cron = "* * * * *"', 'missed = "once"']
        lines += [f'input = {{ marker = "{name}" }}']
    return "\n".join([*lines, ""])


def _helper(module: str, *arguments: str, log: Path) -> Process:
    return Process([sys.executable, "-m", module, *arguments], env={}, log=log, cwd=ROOT)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
