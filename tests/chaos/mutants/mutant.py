"""A mutant: the sources with one thing broken on purpose, and the fault run on them."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.processes import ROOT

PATCHES = Path(__file__).parent
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


def copy(mutant: Mutant, folder: Path) -> Path:
    """Copy the sources and break them. Raises CalledProcessError: the patch does not fit the sources any more."""
    target = folder / mutant.name
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place, follow_symlinks=False)
    if mutant.patch:
        subprocess.run(["git", "apply", str(mutant.patch)], cwd=target, check=True)
    return target


def judge(mutant: Mutant, source: Path, options: list[str], *, seconds: float) -> Verdict:
    """Do the fault run on a copy, for `seconds` at most."""
    faults = source / "faults.json"
    command = [sys.executable, "-m", "tests.chaos", *options, "--json", str(faults)]
    with (source / "run.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=source, stdout=log, stderr=log)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        log.seek(0)
        output = log.read()
    return Verdict(mutant, output, json.loads(faults.read_text()) if faults.exists() else {})
