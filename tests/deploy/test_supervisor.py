"""The local supervisor, on parts that behave badly."""

import asyncio
from pathlib import Path

import pytest

from tandem.deploy.local.parts import Part
from tandem.deploy.local.supervisor import Supervisor

NOISY = """
import time
print("x" * 300_000)
print("one of several lines", flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    (tmp_path / "noisy.py").write_text(NOISY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Supervisor([Part("noisy", "noisy", check=lambda: True)], grace=1)


async def test_a_line_without_end_does_not_stop_the_watching(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = ""

    async def until_said(text: str, times: int) -> None:
        nonlocal seen
        async with asyncio.timeout(20):
            while seen.count(text) < times:
                await asyncio.sleep(0.02)
                seen += capsys.readouterr().out

    await supervisor.start()
    await until_said("several lines", 1)
    supervisor._processes["noisy"].kill()
    await until_said("several lines", 2)
    assert "ended with -9, starting it again" in seen
    assert max(map(len, seen.splitlines())) < 10_000
    await supervisor.stop()
