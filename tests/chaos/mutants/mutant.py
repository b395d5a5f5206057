"""A mutant: one thing that is broken on purpose in a copy of the sources, and the fault run on that."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tandem.sync_worker.engine.memory import family
from tests.support.processes import ROOT
from tests.support.sources import UNTOLD, copy_sources

PATCHES = Path(__file__).parent
GRACE = 20.0  # seconds for a run that is told to end what it started


@dataclass(frozen=True)
class Mutant:
    """What is broken, and a part of the name of the goal that must show it: what else turns tells nothing.

    `also` are goals that it breaks, too, or hides: no mutant that is to be seen by them shares a run with it. `hit`: it
    shows only when something is hit by faults, or by what comes with them.
    """

    name: str
    what: str
    row: str
    patch: Path
    also: tuple[str, ...] = ()
    hit: bool = False

    @property
    def files(self) -> set[str]:
        """The files that it changes."""
        return {line.removeprefix("+++ b/") for line in self.patch.read_text().splitlines() if line.startswith("+++ ")}

    def noticed(self, wrong: Iterable[str]) -> list[str]:
        """Give those of the goals that show it."""
        return sorted(goal for goal in wrong if self.row in goal)


@dataclass(frozen=True)
class Group:
    """What is broken in one run, which has faults or none; nothing: a control."""

    mutants: tuple[Mutant, ...] = ()
    faults: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a fault run said: what is wrong with each goal; nothing at all if it came to no table."""

    output: str
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def wrong(self) -> set[str]:
        """The goals with which something is wrong; to have too few samples is not enough."""
        return {goal for goal, faults in self.faults.items() if faults}

    def both(self, other: "Verdict") -> "Verdict":
        """Give what two runs of the same say was wrong each time; what one says that came to a table, if one did."""
        if not (self.faults and other.faults):
            return self if self.faults else other
        return Verdict(other.output, {goal: self.faults[goal] and faults for goal, faults in other.faults.items()})


def mutants() -> list[Mutant]:
    """All there are, in the order of their numbers."""
    return [read(path) for path in sorted(PATCHES.glob("*.patch"))]


def read(patch: Path) -> Mutant:
    """Read a patch: what it breaks, `Row: …`, perhaps `Also: …; …` and `Hit: by what`; the difference."""
    what, *lines = patch.read_text().partition("\n\n")[0].splitlines()
    heads = dict(line.split(": ", 1) for line in lines)
    also = tuple(heads["Also"].split("; ")) if "Also" in heads else ()
    return Mutant(patch.stem, what, heads["Row"], patch, also, hit="Hit" in heads)


def copy(group: Group, target: Path) -> Path:
    """Copy the sources and break them. Raises CalledProcessError: a patch does not fit the sources any more."""
    copy_sources(target)
    for name in ("tests", "bench"):  # the run, and what its report says of the machine
        shutil.copytree(ROOT / name, target / name, ignore=UNTOLD)
    for mutant in group.mutants:
        apply(mutant.patch, target)
    return target


def fit(group: Sequence[Mutant]) -> bool:
    """Say whether the sources take all of these patches, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for file in set().union(*(mutant.files for mutant in group)):
            if (ROOT / file).exists():
                (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, Path(folder) / file)
        try:
            for mutant in group:
                apply(mutant.patch, Path(folder), "--quiet")
        except subprocess.CalledProcessError:
            return False
    return True


def apply(patch: Path, folder: Path, *options: str) -> None:
    """Apply a patch. Raises CalledProcessError; Git says why.

    No repository around the folder takes part: in one, Git passes over files that it takes for another folder's.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
    command = ["git", "apply", *options, str(patch)]
    subprocess.run(command, cwd=folder, env=env, check=True)


async def judge(source: Path, options: list[str], *, seconds: float) -> Verdict:
    """Do the fault run on a copy, for `seconds` at most; it leaves no process behind, also when it is cancelled."""
    faults = source / "faults.json"
    command = [sys.executable, "-m", "tests.chaos", *options, "--json", str(faults)]
    with (source / "run.log").open("w+") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=source, stdin=DEVNULL, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            log.write(f"\nstopped after {seconds:g} s\n")
        finally:
            await _end(process)
        log.seek(0)
        output = log.read()
    return Verdict(output, json.loads(faults.read_text()) if faults.exists() else {})


async def _end(process: Process) -> None:
    """End a run that has not ended: it ends what it started, or that is ended for it."""
    if process.returncode is not None:
        return
    process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await process.wait()
            return
    for pid in list(family([process.pid])):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await process.wait()
