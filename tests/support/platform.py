"""The whole platform as `make run` starts it, on free ports and in a folder of its own."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from tandem.deploy.local.ports import free_port
from tests.support.processes import Process, until

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
PARTS = ("redis", "llm-stub", "mailbox", "api", "llm-worker", "sync-worker", "clock", "dashboard")
MODULES = {
    "redis": "valkey-server",
    "llm-stub": "llmock",
    "mailbox": "tandem.deploy.local.mailbox",
    "api": "tandem.api",
    "llm-worker": "tandem.llm_worker",
    "sync-worker": "tandem.sync_worker",
    "clock": "tandem.shared.maintenance",
    "dashboard": "tandem.sync_worker.dashboard",
}


@dataclass
class Platform:
    process: Process
    folder: Path
    url: str
    dashboard: str
    env: Mapping[str, str]

    @property
    def admin_key(self) -> str:
        return (self.folder / "admin.key").read_text().strip()

    def client(self, key: str | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key or self.admin_key}"}, timeout=70)

    def parts(self) -> dict[str, psutil.Process]:
        """The running parts by name; a sync worker's horses are not among them."""
        found = {}
        for child in psutil.Process(self.process.popen.pid).children():
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            for name, module in MODULES.items():
                # Two of them are not Python modules of ours: Valkey renames itself, llmock runs under uvicorn.
                if module in words or (name in {"redis", "llm-stub"} and module in " ".join(words)):
                    found[name] = child
        return found

    def run(self, task: str, body: Any) -> dict[str, Any]:
        """Submit a job and wait for its end."""
        with self.client() as client:
            answer = client.post(f"/v1/{task}", json=body, headers={"Prefer": "wait=60"})
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            return job

    def until_finished(self, job_ids: list[str], *, patience: float = 60) -> list[dict[str, Any]]:
        """Wait until all these jobs have reached a final status; outages are waited out."""

        return [until(partial(self._finished, job_id), patience=patience) for job_id in job_ids]

    def _finished(self, job_id: str) -> dict[str, Any]:
        """The finished job, or nothing."""
        try:
            with self.client() as client:
                job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}?wait=10").json()
        except httpx.HTTPError:
            return {}
        return job if job.get("finished_at") else {}


@contextmanager
def platform(folder: Path, **settings: str) -> Iterator[Platform]:
    """Start a platform and stop it at the end of the block."""
    port, dashboard = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    env = {"RUN_DIR": str(folder), "PORT": str(port), "DASHBOARD_PORT": str(dashboard), **settings}
    process = Process([sys.executable, "-m", "tandem.deploy.local.run"], env=env, log=folder / "run.log")
    try:
        process.until_says("\nready http://", patience=60)
        yield Platform(process, folder, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", env)
    finally:
        process.stop(patience=60)
