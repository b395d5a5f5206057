"""`python -m bench.extended api|llm_worker|sync_worker`: the real process, with the bench's tasks in its catalogue.

The catalogue and the handlers are what lies in a package's folder: a package may have more folders than one.
"""

import importlib
import runpy
import sys
from pathlib import Path

from bench import tally

TASKS = Path(__file__).parent / "tasks"
# The parts whose import takes long, done before the gate.
HEAVY = {"api": "api.main", "llm_worker": "llm_worker.main", "sync_worker": "sync_worker.worker"}
HANDLERS = {"llm_worker": "llm", "sync_worker": "sync"}


def extend(part: str) -> None:
    """Let the bench's tasks be found by this process."""
    importlib.import_module("shared.catalog").__path__.append(str(TASKS / "catalog"))
    if folder := HANDLERS.get(part):
        importlib.import_module(f"{part}.handlers").__path__.append(str(TASKS / folder))


def main() -> None:
    part = sys.argv.pop(1)
    extend(part)
    importlib.import_module(HEAVY[part])
    tally.gate()
    runpy.run_module(part, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
