"""Copies of the project's sources, to be spoilt: processes whose working directory one is run from it."""

import shutil
from pathlib import Path

from tests.support.processes import ROOT

ROOMS = ("api", "llm_worker", "sync_worker", "shared", "deploy")
UNTOLD = shutil.ignore_patterns("__pycache__")


def copy_sources(folder: Path, *rooms: str) -> Path:
    """Copy these rooms, or all, and the links of `tandem/` that make them one package."""
    shutil.copytree(ROOT / "tandem", folder / "tandem", symlinks=True, ignore=UNTOLD)
    for room in rooms or ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=UNTOLD)
    return folder
