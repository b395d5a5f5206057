"""`make test TWICE=1`: a test that fails once is named, one that fails twice fails the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment

OK = "def test_ok(): pass\n"
BROKEN = "def test_broken(): assert 0\n"
UNLUCKY = """
from pathlib import Path

def test_unlucky():
    seen = Path(__file__).with_name("seen")
    before = seen.exists()
    seen.touch()
    assert before
"""
CRASHES = UNLUCKY.replace("assert before", "before or __import__('os')._exit(3)")
NAMED = "FLAKY: test_it.py::test_unlucky"
SIDE_BY_SIDE = ("-n", "2", "--dist", "worksteal")


def run(folder: Path, source: str, *options: str) -> tuple[int, list[str]]:
    """Run a suite of one file; gives how it ended and the lines it said."""
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q\nasyncio_default_fixture_loop_scope = function\n")
    env = {name: value for name, value in clean_environment().items() if not name.startswith("PYTEST_")}
    command = ["bash", str(ROOT / "tests/twice.sh"), sys.executable, *options]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_what_passes_runs_once(tmp_path: Path) -> None:
    code, said = run(tmp_path, OK)
    assert (code, sum("1 passed" in line for line in said)) == (0, 1)
    assert not any("once more" in line for line in said)


@pytest.mark.parametrize("unlucky", [UNLUCKY, CRASHES], ids=["fails", "crashes"])
def test_a_test_that_fails_once_is_named_and_fails_nothing(tmp_path: Path, unlucky: str) -> None:
    code, said = run(tmp_path, OK + unlucky, *SIDE_BY_SIDE)
    assert (code, said.count(NAMED)) == (0, 1)
    assert said[-1].startswith("1 passed in ")


def test_a_test_that_fails_twice_fails_the_run(tmp_path: Path) -> None:
    code, said = run(tmp_path, OK + BROKEN + UNLUCKY, *SIDE_BY_SIDE)
    assert (code, said.count(NAMED)) == (1, 1)
    assert said[-1].startswith("1 failed, 1 passed in ")


@pytest.mark.parametrize("options", [(), SIDE_BY_SIDE], ids=["alone", "side by side"])
def test_a_file_that_can_not_be_imported_fails_at_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_no.py").write_text("import no_such_module\n")
    code, said = run(tmp_path, OK + UNLUCKY, *options)
    assert code != 0
    assert not any("once more" in line for line in said)


def test_a_run_that_is_broken_off_fails_at_once(tmp_path: Path) -> None:
    code, said = run(tmp_path, "def test_it(): raise KeyboardInterrupt\n" + UNLUCKY)
    assert code == 2
    assert not any("once more" in line for line in said)


def test_many_failures_are_no_bad_luck(tmp_path: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('n', range(21))\ndef test_it(n): assert 0\n"
    code, said = run(tmp_path, many)
    assert code == 1
    assert not any("once more" in line for line in said)


BREAKS = """
import pathlib
def pytest_runtest_makereport():
    if not (seen := pathlib.Path("seen")).exists():
        seen.touch()
        raise SystemError
"""


def test_where_pytest_itself_breaks_all_runs_once_more(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(BREAKS)
    code, said = run(tmp_path, OK)
    assert code == 0
    assert any("pytest broke" in line for line in said)
