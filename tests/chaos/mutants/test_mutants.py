"""The patches are kept: each fits the sources and says what it breaks. That they are noticed: `make chaos-mutants`."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.judge.made_up import case, facts
from tests.chaos.judge.rows import judge as judge_rows
from tests.chaos.mutants.__main__ import Finding, choose, findings, report
from tests.chaos.mutants.groups import groups
from tests.chaos.mutants.mutant import Group, Mutant, Verdict, apply, copy, judge, mutants
from tests.chaos.plan.make import make
from tests.chaos.plan.model import Limit
from tests.support.processes import ROOT, until

ALL = mutants()
PLAN = make(1, jobs=300, rate=12, every=2.2, shared=False)


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_patch_fits_the_sources(mutant: Mutant) -> None:
    assert mutant.what.endswith(".")
    apply(mutant.patch, ROOT, "--check")


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_patch_names_goals_that_there_are(mutant: Mutant) -> None:
    everything = facts(case(1, "chat"), limits={"m": Limit(rpm=60, tpm=600)}, planned_deeds=PLAN.deeds)
    goals = [row.goal for row in judge_rows(everything)]
    for part in (mutant.row, *mutant.also):
        assert any(part in goal for goal in goals), f"there is no goal {part!r}"


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_the_docs_say_what_each_breaks_and_what_must_show_it(mutant: Mutant) -> None:
    line = f"| {mutant.name} | {mutant.what} | {mutant.row} |"
    assert line in (ROOT / "docs/reliability.md").read_text()


def test_a_copy_is_broken_also_within_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whatever Git is told by its environment and by nobody's configuration."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", "/nonexistent")
    source = copy(Group((ALL[3],)), tmp_path / "within" / "copy")
    handler = Path("llm_worker/handlers/chat.py")
    assert (source / handler).read_text() != (ROOT / handler).read_text()
    subprocess.run([sys.executable, "-m", "tests.chaos", "--help"], cwd=source, check=True)


def test_some_may_be_chosen() -> None:
    assert [mutant.name for mutant in choose(ALL, "asks-twice", 0)] == ["04-asks-twice"]
    assert len({mutant.name for mutant in choose(ALL, "", 3)}) == 3
    assert choose(ALL, "", 0) == ALL


# --- who shares a run with whom


def mutant(name: str, row: str, *, file: str = "", folder: Path, **more: Any) -> Mutant:
    patch = folder / f"{name}.patch"
    patch.write_text(f"What it breaks.\n\n--- /dev/null\n+++ b/{file or name}\n@@ -0,0 +1 @@\n+{name}\n")  # a new file
    return Mutant(name, "What it breaks.", row, patch, **more)


def shared(chosen: list[Mutant]) -> list[tuple[Mutant, ...]]:
    return [group.mutants for group in groups(chosen)]


def test_what_has_nothing_in_common_shares_a_run(tmp_path: Path) -> None:
    lost, twice = mutant("a", "is lost", folder=tmp_path), mutant("b", "ends once", folder=tmp_path)
    same_file = mutant("c", "streams", file="a", folder=tmp_path)
    same_row = mutant("d", "nothing is lost", folder=tmp_path)
    hides = mutant("e", "webhooks", folder=tmp_path, also=("each ends once, and so on",))
    groups = [set(group) for group in shared([lost, twice, same_file, same_row, hides])]
    assert groups == [{lost, twice}, {same_file, same_row, hides}]


def test_whom_most_others_disturb_comes_first(tmp_path: Path) -> None:
    """Else the first two would share a run, and the others would need one each."""
    mails, order = (mutant(row, row, folder=tmp_path) for row in ("mails", "order"))
    streams = mutant("streams", "streams", folder=tmp_path, also=("mails",))
    hooks = mutant("hooks", "hooks", folder=tmp_path, also=("streams", "order"))
    assert shared([mails, order, streams, hooks]) == [(streams, order), (hooks, mails)]


def test_a_run_has_no_more_than_ten(tmp_path: Path) -> None:
    chosen = [mutant(f"{number:02}", f"goal {number:02}", folder=tmp_path) for number in range(21)]
    assert [len(group) for group in shared(chosen)] == [10, 10, 1]


def test_different_places_of_a_file_share_a_run() -> None:
    lease, burnt = (next(each for each in ALL if each.name.startswith(number)) for number in ("05", "02"))
    assert lease.files == burnt.files
    assert shared([lease, burnt]) == [(lease, burnt)]


def test_only_what_needs_faults_has_a_run_with_faults(tmp_path: Path) -> None:
    one, other = mutant("a", "is lost", folder=tmp_path), mutant("b", "ends once", folder=tmp_path)
    hit, too = (mutant(name, f"goal {name}", folder=tmp_path, hit=True) for name in "cd")
    assert groups([one, hit, other, too]) == [Group((hit, too), faults=True), Group((one, other))]


@pytest.mark.parametrize("group", groups(ALL), ids=lambda group: " ".join(each.name[:2] for each in group.mutants))
def test_all_of_a_group_are_broken(group: Group, tmp_path: Path) -> None:
    source = copy(group, tmp_path / "copy")
    for file in set().union(*(mutant.files for mutant in group.mutants)):
        assert (source / file).read_text() != (ROOT / file).read_text()


# --- who tells nothing beside others runs once more, alone

FINE: dict[str, list[str]] = {"nothing is lost": [], "each ends once": []}
LOST = {**FINE, "nothing is lost": ["job 1"]}
TWICE = {**FINE, "each ends once": ["job 2"]}
NO_TABLE: dict[str, list[str]] = {}


@pytest.fixture
def a(tmp_path: Path) -> Mutant:
    return mutant("a", "nothing is lost", folder=tmp_path)


@pytest.fixture
def b(tmp_path: Path) -> Mutant:
    return mutant("b", "ends once", folder=tmp_path)


@pytest.fixture
def c(tmp_path: Path) -> Mutant:
    """To be seen as `a` is: they share no run."""
    return mutant("c", "is lost", folder=tmp_path)


class Runs:
    """Runs whose verdicts are known, by what is broken; counts who runs side by side with whom."""

    def __init__(self, *faults: tuple[str, dict[str, list[str]]]) -> None:
        self._faults = list(faults)
        self.done: list[str] = []
        self.beside: list[int] = []
        self._now = 0

    async def __call__(self, group: Group) -> Verdict:
        self._now += 1
        self.beside.append(self._now)
        await asyncio.sleep(0)
        self._now -= 1
        names = " ".join(mutant.name for mutant in group.mutants) or "control"
        names += " with faults" if group.faults else ""
        self.done.append(names)
        found = next(entry for entry in self._faults if entry[0] == names)
        self._faults.remove(found)
        return Verdict("output", found[1])


async def said(found: AsyncIterator[Finding]) -> list[tuple[str, list[str]]]:
    return [(each.mutant.name if each.mutant else "control", each.goals) async for each in found]


async def test_what_is_noticed_runs_once(a: Mutant, b: Mutant) -> None:
    runs = Runs(("control", FINE), ("a b", {**LOST, "each ends once": ["job 3"]}))
    expected = [("control", []), ("a", ["nothing is lost"]), ("b", ["each ends once"])]
    assert await said(findings([a, b], runs, 4)) == expected
    assert runs.beside == [1, 2]


async def test_what_needs_faults_is_compared_with_a_control_that_has_them(a: Mutant, tmp_path: Path) -> None:
    hit = mutant("b", "ends once", folder=tmp_path, hit=True)
    runs = Runs(
        *(("control with faults", LOST), ("control", FINE), ("b with faults", {**LOST, "each ends once": ["job 3"]})),
        ("a", LOST),
    )
    expected = [("control", ["nothing is lost"]), ("control", []), ("a", ["nothing is lost"])]
    assert await said(findings([a, hit], runs, 4)) == [*expected, ("b", ["each ends once"])]


async def test_only_its_own_goal_shows_a_mutant(a: Mutant) -> None:
    runs = Runs(("control", FINE), ("a", TWICE), ("a", TWICE))
    assert (await said(findings([a], runs, 4)))[-1] == ("a", [])


async def test_what_goes_unnoticed_runs_once_more_alone(a: Mutant, b: Mutant, c: Mutant) -> None:
    runs = Runs(("control", FINE), ("a b", TWICE), ("c", NO_TABLE), ("a", LOST), ("c", FINE))
    expected = [("control", []), ("a", ["nothing is lost"]), ("b", ["each ends once"]), ("c", [])]
    assert await said(findings([a, b, c], runs, 4)) == expected
    assert runs.beside == [1, 2, 3, 1, 1]
    assert runs.done[3:] == ["a", "c"]


async def test_what_the_control_hides_is_looked_at_beside_a_control_of_its_own(a: Mutant, b: Mutant) -> None:
    both = {**LOST, "each ends once": ["job 3"]}
    runs = Runs(("control", LOST), ("a b", both), ("control", FINE), ("a", LOST))
    expected = [
        ("control", ["nothing is lost"]),
        ("control", []),
        ("a", ["nothing is lost"]),
        ("b", ["each ends once"]),
    ]
    assert await said(findings([a, b], runs, 4)) == expected


async def test_a_goal_must_be_well_in_one_of_two_controls(a: Mutant, b: Mutant) -> None:
    """A busy machine may turn another one in each."""
    both = {**LOST, "each ends once": ["job 3"]}
    runs = Runs(("control", LOST), ("a b", both), ("control", TWICE))
    found = [("a", ["nothing is lost"]), ("b", ["each ends once"])]
    assert (await said(findings([a, b], runs, 4)))[2:] == found
    runs = Runs(("control", LOST), ("a b", both), ("control", LOST), ("a", LOST))
    assert (await said(findings([a, b], runs, 4)))[2:] == [("a", []), found[1]]


async def test_a_control_that_hides_nobody_does_not_run_again(a: Mutant) -> None:
    runs = Runs(("control", TWICE), ("a", FINE), ("a", LOST))
    assert await said(findings([a], runs, 4)) == [("control", ["each ends once"]), ("a", ["nothing is lost"])]


async def test_without_a_control_all_run_again_and_without_a_second_one_nothing_is_noticed(a: Mutant) -> None:
    runs = Runs(("control", NO_TABLE), ("a", LOST), ("control", FINE), ("a", LOST))
    assert (await said(findings([a], runs, 4)))[-1] == ("a", ["nothing is lost"])
    runs = Runs(("control", NO_TABLE), ("a", LOST), ("control", NO_TABLE), ("a", LOST))
    assert (await said(findings([a], runs, 4)))[-1] == ("a", [])


async def test_what_is_not_looked_at_in_time_counts_as_unnoticed(
    a: Mutant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(group: Group, _: Path) -> Verdict:
        if group.mutants:
            await asyncio.Event().wait()
        return Verdict("output", FINE)

    monkeypatch.setattr("tests.chaos.mutants.__main__.run", run)
    assert await report([a], 2, within=0.1) == 1
    assert "stopped after 0.1 s" in capsys.readouterr().out


def test_a_line_says_what_was_wrong_with_the_goal(a: Mutant) -> None:
    found = Finding(a, ["nothing is lost"], Verdict("output", {"nothing is lost": ["job 1", "job 2", "job 3"]}))
    assert found.line == "| a | What it breaks. | nothing is lost: job 1, and 2 more |"


# --- a run leaves nothing behind

HANGS = """
import signal, subprocess, sys
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN if {deaf} else lambda *_: sys.exit(child.kill()))
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
Path("pid.new").write_text(str(child.pid))
Path("pid.new").rename("pid")
while True:
    signal.pause()
"""


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_run_that_is_stopped_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, deaf: bool
) -> None:
    monkeypatch.setattr("tests.chaos.mutants.mutant.GRACE", 1.0 if deaf else 60.0)
    (tmp_path / "tests/chaos").mkdir(parents=True)
    (tmp_path / "tests/chaos/__main__.py").write_text(HANGS.format(deaf=deaf))
    run = asyncio.create_task(judge(tmp_path, [], seconds=600))
    await asyncio.to_thread(until, (tmp_path / "pid").exists)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    pid = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(until, lambda: not alive(pid))  # who is killed is gone a moment later


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "tests/chaos").mkdir(parents=True)
    (tmp_path / "tests/chaos/__main__.py").write_text("import signal; signal.pause()")
    verdict = await judge(tmp_path, [], seconds=0.1)
    assert (verdict.faults, verdict.output.strip()) == ({}, "stopped after 0.1 s")
