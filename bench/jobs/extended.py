"""`python -m bench.jobs.extended MODULE`: the real process (`tandem.api`, …), with the bench's tasks in its catalogue.

The catalogue and the handlers are what lies in a package's folder: a package may have more folders than one.
"""

import importlib
import runpy
import sys
from pathlib import Path

from bench.jobs import tally

TASKS = Path(__file__).parent / "tasks"
# The parts whose import takes long, done before the gate.
HEAVY = {
    "tandem.api": "tandem.api.app",
    "tandem.llm_worker": "tandem.llm_worker.main",
    "tandem.sync_worker": "tandem.sync_worker.engine.worker",
}
HANDLERS = {"tandem.llm_worker": "llm", "tandem.sync_worker": "sync"}


def extend(part: str) -> None:
    """Let the bench's tasks be found by this process."""
    importlib.import_module("tandem.shared.tasks.catalog").__path__.append(str(TASKS / "catalog"))
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
