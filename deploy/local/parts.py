"""What `make run` starts."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import redis

from tandem.shared.config.settings import Settings


@dataclass(frozen=True)
class Part:
    """One process. `helper` parts start before the others and stop after them.

    `check` tells whether the part answers; None: it says so itself, by sd_notify.
    """

    name: str
    module: str
    helper: bool = False
    check: Callable[[], bool] | None = field(default=None, repr=False)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module]


def parts(settings: Settings) -> list[Part]:
    """List the parts for these settings: a helper only where no real server was given."""
    run_dir = settings.run_dir.resolve()
    chosen: list[Part] = []
    if not settings.redis_url:
        chosen.append(Part("redis", "tandem.deploy.local.redis", helper=True, check=lambda: _redis_answers(run_dir)))
    if not settings.has_provider:
        chosen.append(Part("llm-stub", "tandem.deploy.local.stub", helper=True, check=lambda: _stub_answers(run_dir)))
    if not settings.smtp_url:
        chosen.append(Part("mailbox", "tandem.deploy.local.mailbox", helper=True))
    chosen.append(Part("api", "tandem.api"))
    chosen += _pool("llm-worker", "tandem.llm_worker", settings.llm_workers)
    chosen += _pool("sync-worker", "tandem.sync_worker", settings.sync_workers)
    return [*chosen, Part("clock", "tandem.shared.maintenance"), Part("dashboard", "tandem.sync_worker.dashboard")]


def _pool(name: str, module: str, size: int) -> list[Part]:
    return [Part(name if size == 1 else f"{name}-{number}", module) for number in range(1, size + 1)]


def _redis_answers(run_dir: Path) -> bool:
    try:
        with redis.Redis.from_url((run_dir / "redis.url").read_text().strip()) as client:
            return bool(client.ping())
    except (OSError, ValueError, redis.RedisError):
        return False


def _stub_answers(run_dir: Path) -> bool:
    try:
        base = (run_dir / "llm.url").read_text().strip().removesuffix("/v1")
        with urlopen(f"{base}/health", timeout=1) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own name
    except (OSError, ValueError, URLError):
        return False
