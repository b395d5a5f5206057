"""The patches are kept: each fits the sources and says what it breaks. That they are noticed: `make chaos-mutants`."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.mutants.__main__ import choose, verdicts
from tests.chaos.mutants.mutant import CONTROL, Mutant, Verdict, apply, copy, judge, mutants
from tests.support.processes import ROOT, until

ALL = mutants()


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_patch_fits_the_sources(mutant: Mutant) -> None:
    assert mutant.what.endswith(".")
    assert mutant.patch is not None
    apply(mutant.patch, ROOT, "--check")


def test_a_copy_is_broken_also_within_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whatever Git is told by its environment and by nobody's configuration."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", "/nonexistent")
    source = copy(ALL[3], tmp_path / "within" / "copy")
    handler = Path("llm_worker/handlers/chat.py")
    assert (source / handler).read_text() != (ROOT / handler).read_text()
    subprocess.run([sys.executable, "-m", "tests.chaos", "--help"], cwd=source, check=True)


def test_some_may_be_chosen() -> None:
    assert [mutant.name for mutant in choose(ALL, "asks-twice", 0)] == ["04-asks-twice"]
    assert len({mutant.name for mutant in choose(ALL, "", 3)}) == 3
    assert choose(ALL, "", 0) == ALL


# --- who tells nothing beside others runs once more, alone

FINE: dict[str, list[str]] = {"nothing is lost": [], "each ends once": []}
LOST = {**FINE, "nothing is lost": ["job 1"]}
TWICE = {**FINE, "each ends once": ["job 2"]}
NO_TABLE: dict[str, list[str]] = {}
A, B = ALL[:2]


class Runs:
    """Runs whose verdicts are known; counts who runs side by side with whom."""

    def __init__(self, *faults: tuple[Mutant, dict[str, list[str]]]) -> None:
        self._faults = list(faults)
        self.done: Counter[str] = Counter()
        self.beside: list[int] = []
        self._now = 0

    async def __call__(self, mutant: Mutant) -> Verdict:
        self._now += 1
        self.beside.append(self._now)
        await asyncio.sleep(0)
        self._now -= 1
        self.done[mutant.name] += 1
        found = next(entry for entry in self._faults if entry[0] is mutant)
        self._faults.remove(found)
        return Verdict(mutant, "output", found[1])


async def said(verdicts: AsyncIterator[tuple[Verdict, list[str]]]) -> list[tuple[str, list[str]]]:
    return [(verdict.mutant.name, goals) async for verdict, goals in verdicts]


async def test_what_is_noticed_runs_once() -> None:
    runs = Runs((CONTROL, FINE), (A, LOST), (B, TWICE))
    expected = [("control", []), (A.name, ["nothing is lost"]), (B.name, ["each ends once"])]
    assert await said(verdicts([A, B], runs, 4)) == expected
    assert runs.beside == [1, 2, 3]


async def test_what_goes_unnoticed_runs_once_more_alone() -> None:
    runs = Runs((CONTROL, FINE), (A, FINE), (B, NO_TABLE), (A, LOST), (B, FINE))
    assert await said(verdicts([A, B], runs, 4)) == [("control", []), (A.name, ["nothing is lost"]), (B.name, [])]
    assert runs.beside == [1, 2, 3, 1, 1]
    assert runs.done == {"control": 1, A.name: 2, B.name: 2}


async def test_what_the_control_hides_is_looked_at_beside_a_control_of_its_own() -> None:
    runs = Runs((CONTROL, LOST), (A, LOST), (B, TWICE), (CONTROL, FINE), (A, LOST))
    shown = await said(verdicts([A, B], runs, 4))
    expected = [
        ("control", ["nothing is lost"]),
        ("control", []),
        (A.name, ["nothing is lost"]),
        (B.name, ["each ends once"]),
    ]
    assert shown == expected


async def test_without_a_control_all_run_again_and_without_a_second_one_nothing_is_noticed() -> None:
    runs = Runs((CONTROL, NO_TABLE), (A, LOST), (CONTROL, FINE), (A, LOST))
    assert (await said(verdicts([A], runs, 4)))[-1] == (A.name, ["nothing is lost"])
    runs = Runs((CONTROL, NO_TABLE), (A, LOST), (CONTROL, NO_TABLE), (A, LOST))
    assert (await said(verdicts([A], runs, 4)))[-1] == (A.name, [])


# --- a run leaves nothing behind

HANGS = """
import signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN if {deaf} else lambda *_: sys.exit(child.kill()))
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
Path("pid.new").write_text(str(child.pid))
Path("pid.new").rename("pid")
while True:
    time.sleep(600)
"""


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_run_that_is_stopped_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, deaf: bool
) -> None:
    monkeypatch.setattr("tests.chaos.mutants.mutant.GRACE", 1.0 if deaf else 60.0)
    (tmp_path / "tests/chaos").mkdir(parents=True)
    (tmp_path / "tests/chaos/__main__.py").write_text(HANGS.format(deaf=deaf))
    run = asyncio.create_task(judge(CONTROL, tmp_path, [], seconds=600))
    await asyncio.to_thread(until, (tmp_path / "pid").exists)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not alive(int((tmp_path / "pid").read_text()))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "tests/chaos").mkdir(parents=True)
    (tmp_path / "tests/chaos/__main__.py").write_text("import time; time.sleep(600)")
    verdict = await judge(CONTROL, tmp_path, [], seconds=0.1)
    assert (verdict.faults, verdict.output.strip()) == ({}, "stopped after 0.1 s")
