"""What a process says to options that it does not have."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT, clean_environment

MODULES = (
    "tandem.api",
    "tandem.llm_worker",
    "tandem.sync_worker",
    "tandem.shared.maintenance",
    "tandem.sync_worker.dashboard",
    "tandem.deploy.local.run",
    "tandem.deploy.local.demo",
)


@pytest.mark.parametrize("module", MODULES)
def test_help_is_shown_and_nothing_started(module: str) -> None:
    result = _run(module, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: python -m {module} ")
    assert result.stderr == ""


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_option_is_an_error(module: str) -> None:
    result = _run(module, "--prot=8001")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"python -m {module}: error: unrecognized arguments: --prot=8001"


def _run(module: str, option: str) -> "subprocess.CompletedProcess[str]":
    """Without any setting: a process that began its work would wait for Redis, or end with another message."""
    command = [sys.executable, "-m", module, option]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=clean_environment(), cwd=ROOT, check=False
    )
