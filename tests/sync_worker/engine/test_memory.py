"""How a job's memory is counted."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tandem.sync_worker.engine import memory

MIB = 2**20
# Holds 100 MiB, shared with three forks.
FAMILY = """
import os, sys
kept = b"x" * 100 * 2**20
if all(os.fork() for _ in range(3)):
    print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def family() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_pages_that_forks_share_count_once(family: int) -> None:
    assert len(list(memory.family([family]))) == 4
    assert memory.excess([family], 180 * MIB) == 0
    assert 100 * MIB < memory.excess([family], 64 * MIB) < 180 * MIB


def test_a_process_that_is_gone_holds_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory.excess([process.pid], 1) == 0
