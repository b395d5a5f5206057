"""The patches are kept: each fits the sources and says what it breaks. That they are noticed: `make chaos-mutants`."""

import subprocess

import pytest

from tests.chaos.mutants.__main__ import choose
from tests.chaos.mutants.mutant import Mutant, mutants
from tests.support.processes import ROOT

ALL = mutants()


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_patch_fits_the_sources(mutant: Mutant) -> None:
    assert mutant.what.endswith(".")
    tried = subprocess.run(
        ["git", "apply", "--check", str(mutant.patch)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (tried.returncode, tried.stderr) == (0, "")


def test_some_may_be_chosen() -> None:
    assert [mutant.name for mutant in choose(ALL, "asks-twice", 0)] == ["04-asks-twice"]
    assert len({mutant.name for mutant in choose(ALL, "", 3)}) == 3
    assert choose(ALL, "", 0) == ALL
