"""What is installed: one top-level package, with the files that are not Python."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.processes import ROOT

ROOMS = {"api", "llm_worker", "sync_worker", "shared", "deploy"}
DATA = {".lua", ".html", ".css", ".txt", ".js", ".mako", ".sh"}


@pytest.mark.slow
def test_a_wheel_has_one_top_level_package_and_all_its_files(tmp_path: Path) -> None:
    """Applications have packages called `api` and `shared` of their own."""
    source = tmp_path / "source"  # building leaves folders behind
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", str(ROOT), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    names = [name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"tandem"}
    assert {name.split("/")[1] for name in names} == {*ROOMS, "__init__.py"}
    here = {path.relative_to(source) for room in ROOMS for path in (source / room).rglob("*") if path.suffix in DATA}
    assert here
    assert {f"tandem/{path}" for path in here} <= {*names, "tandem/deploy/lock.sh"}
