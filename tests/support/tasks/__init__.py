"""Tasks that misbehave as they are told, for real processes to run; `startup/` adds them to a process."""

import os
from pathlib import Path

from tests.support.processes import ROOT

HERE = Path(__file__).parent
# What a process needs in its environment to have the tests' tasks, and what makes its leases, its watch over
# suspects and its limits short.
WITH_TASKS = {"PYTHONPATH": os.pathsep.join([str(HERE / "startup"), str(ROOT)])}
SHORT_LEASES = {"TESTS_SHORT_LEASES": "1"}
SHORT_WATCH = {"TESTS_SHORT_WATCH": "1"}
SHORT_LIMITS = {"TESTS_SHORT_LIMITS": "1"}
TEMPLATES = HERE / "templates"
