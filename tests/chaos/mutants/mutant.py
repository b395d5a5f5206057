"""A mutant: the sources with one thing broken on purpose, and the fault run on them."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tandem.sync_worker.engine.memory import family
from tests.support.processes import ROOT
from tests.support.sources import UNTOLD, copy_sources

PATCHES = Path(__file__).parent
GRACE = 20.0  # seconds for a run that is told to end what it started
NOISY = ("recovery", "% used")  # in the names of goals that a busy machine misses: they tell nothing here


@dataclass(frozen=True)
class Mutant:
    """What is broken; without a patch it is the control, in which nothing is."""

    name: str
    what: str
    patch: Path | None = None


@dataclass(frozen=True)
class Verdict:
    """What the fault run said of a mutant: what is wrong with each goal; nothing at all if it came to no table."""

    mutant: Mutant
    output: str
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def wrong(self) -> set[str]:
        """The goals with which something is wrong; to have too few samples is not enough."""
        return {goal for goal, faults in self.faults.items() if faults and not any(word in goal for word in NOISY)}


CONTROL = Mutant("control", "Nothing is broken.")


def mutants() -> list[Mutant]:
    """All there are, in the order of their numbers. A patch begins with a line that says what it breaks."""
    return [Mutant(path.stem, path.read_text().partition("\n")[0], path) for path in sorted(PATCHES.glob("*.patch"))]


def copy(mutant: Mutant, target: Path) -> Path:
    """Copy the sources and break them. Raises CalledProcessError: the patch does not fit the sources any more."""
    copy_sources(target)
    for name in ("tests", "bench"):  # the run, and what its report says of the machine
        shutil.copytree(ROOT / name, target / name, ignore=UNTOLD)
    if mutant.patch:
        apply(mutant.patch, target)
    return target


def apply(patch: Path, folder: Path, *options: str) -> None:
    """Apply a patch. Raises CalledProcessError; Git says why.

    No repository around the folder takes part: in one, Git passes over files that it takes for another folder's.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
    command = ["git", "apply", *options, str(patch)]
    subprocess.run(command, cwd=folder, env=env, check=True)


async def judge(mutant: Mutant, source: Path, options: list[str], *, seconds: float) -> Verdict:
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
    return Verdict(mutant, output, json.loads(faults.read_text()) if faults.exists() else {})


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
