"""bootstrap.sh where libraries or fonts are missing: its package manager is a script that notes what it is asked."""

import subprocess
from pathlib import Path

import pytest

from tests.chaos.faults.wrong_time import WHY_NOT
from tests.support.processes import ROOT, clean_environment


class Machine:
    """A folder with a finished `.venv`, and the commands that the script asks the machine by."""

    def __init__(self, path: Path, *, libraries: int, fonts: str, apt: int) -> None:
        self.path = path
        (path / "bin").mkdir()
        (path / "deploy").symlink_to(ROOT / "deploy")
        (path / "lock").write_text("")
        self.command(".venv/bin/python", f'[ "$1" != deploy/local/libraries.py ] || exit {libraries}')
        self.command("bin/id", "echo 0")
        self.command("bin/fc-list", f"printf '{fonts}'")
        self.command("bin/apt-get", f'echo "$@" >> asked; exit {apt}')
        stamp = subprocess.run(["cksum", "lock"], cwd=path, capture_output=True, check=True).stdout
        (path / ".venv/.installed-from").write_bytes(stamp)

    def command(self, name: str, script: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def bootstrap(self, lock: str = "lock") -> subprocess.CompletedProcess[str]:
        env = clean_environment()
        env["PATH"] = f"{self.path / 'bin'}:{env['PATH']}"
        command = ["sh", "deploy/local/bootstrap.sh", lock]
        return subprocess.run(command, cwd=self.path, env=env, capture_output=True, text=True, check=False)

    @property
    def asked(self) -> str:
        file = self.path / "asked"
        return file.read_text() if file.exists() else ""


def test_a_machine_with_everything_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, libraries=0, fonts="font", apt=100)
    assert machine.bootstrap().returncode == 0
    assert machine.asked == ""


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_developer_s_machine_with_everything_is_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, libraries=0, fonts="font", apt=100)
    machine.command("bin/chromium", "")
    (machine.path / "a-dev.lock").write_text("")
    stamp = subprocess.run(["cksum", "a-dev.lock"], cwd=machine.path, capture_output=True, check=True)
    (machine.path / ".venv/.installed-from").write_bytes(stamp.stdout)
    assert machine.bootstrap("a-dev.lock").returncode == 0
    assert machine.asked == ""


def test_libraries_that_can_not_be_installed_are_named_with_the_command(tmp_path: Path) -> None:
    result = Machine(tmp_path, libraries=1, fonts="font", apt=100).bootstrap()
    assert result.returncode == 1
    assert "sudo apt-get install -y libpango-1.0-0" in result.stderr


def test_fonts_are_installed_and_their_failure_stops_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, libraries=0, fonts="", apt=0)
    first = machine.bootstrap()
    assert first.returncode == 0
    assert "sudo apt-get install -y fonts-wqy-microhei fonts-noto-color-emoji" in first.stderr
    asked = machine.asked
    assert "install -y -qq --no-install-recommends fonts-wqy-microhei fonts-noto-color-emoji" in asked
    assert machine.bootstrap().returncode == 0
    assert machine.asked == asked  # it fails once


def test_fonts_that_were_installed_and_are_gone_are_installed_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, libraries=0, fonts="", apt=0)
    machine.command("bin/fc-list", "[ ! -e there ] || echo font")
    machine.command("bin/apt-get", 'echo "$@" >> asked; touch there')
    for count in (1, 2):
        assert machine.bootstrap().returncode == 0
        assert machine.asked.count("fonts-wqy-microhei") == count
        (tmp_path / "there").unlink()
