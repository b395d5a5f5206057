"""Python imports this at the start of each process whose PYTHONPATH names this folder: the tests' tasks are among ours.

The catalogue and the handlers are what lies in a package's folders, and a package may have more folders than one. So
the real commands, and whatever they start, run unchanged, with more tasks.
"""

import os
from datetime import timedelta
from importlib import import_module
from pathlib import Path

TASKS = Path(__file__).parents[1]
HOMES = {
    "catalog": "tandem.shared.tasks.catalog",
    "llm": "tandem.llm_worker.handlers",
    "sync": "tandem.sync_worker.handlers",
}


def extend() -> None:
    for folder, package in HOMES.items():
        import_module(package).__path__.append(str(TASKS / folder))


def shorten_leases() -> None:
    """Let a dead worker's jobs start elsewhere sooner, in Python and in the scripts."""
    scripts = import_module("tandem.shared.store.scripts")
    shorter = {"LEASE": timedelta(seconds=3), "RENEW_EVERY": timedelta(seconds=0.3), "GAP": timedelta(seconds=30)}
    for name, duration in shorter.items():
        if not isinstance(getattr(scripts, name, None), timedelta):
            raise SystemExit(f"{scripts.__name__}.{name} is no duration")  # any other exception would go unheard
        setattr(scripts, name, duration)
        if f"{name}_MS" in scripts.CONSTANTS:
            scripts.CONSTANTS[f"{name}_MS"] = duration


def shorten_watch() -> None:
    """Let a suspect's process have no half minute beside its task's time limit."""
    attempt = import_module("tandem.llm_worker.isolation.attempt")
    if not isinstance(getattr(attempt, "START", None), timedelta):
        raise SystemExit(f"{attempt.__name__}.START is no duration")
    setattr(attempt, "START", timedelta(seconds=2))  # noqa: B010 - a module's, which mypy does not know


if "TESTS_SHORT_LEASES" in os.environ:
    shorten_leases()  # before anybody takes a copy
extend()
if "TESTS_SHORT_WATCH" in os.environ:
    shorten_watch()
