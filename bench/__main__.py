"""`make bench`: the project and its peers side by side, one table.

`ONLY=pickup,drain` measures only that; `QUICK=1` makes everything small, to see that it runs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bench import report
from bench.lab import PEERS_PYTHON, ROOT, NotMeasuredError
from bench.result import Effort, Result, not_measured

MEASUREMENTS = (
    "pickup",
    "drain",
    "backlog",
    "calls",
    "memory",
    "trips",
    "limiter",
    "invoice",
    "isolation",
    "gateway",
    "waiters",
)
RESULTS = ROOT / "bench/results.json"  # of a whole run
PARTIAL = ROOT / "bench/results.partial.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: the figures mean nothing")
    parser.add_argument("--folder", type=Path, help="keep the logs of all processes there")
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name] or list(MEASUREMENTS)
    if unknown := set(chosen) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = options.folder or Path(temporary)
        effort = Effort(1 if options.quick else 3, 0.1 if options.quick else 1.0, folder, _say)
        results = {name: _measure(name, effort) for name in chosen}
    found = report.assemble(results, quick=options.quick, only=options.only)
    whole = set(chosen) == set(MEASUREMENTS) and not options.quick
    (RESULTS if whole else PARTIAL).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(report.table(found))
    if whole:
        report.publish(found)
        subprocess.run([str(PEERS_PYTHON), "-m", "bench.plots"], cwd=ROOT, check=True)  # noqa: S603 - our own command


def _measure(name: str, effort: Effort) -> Result:
    _say(f"\033[1m{name}\033[0m" if sys.stdout.isatty() else name)
    began = time.monotonic()
    measure: Callable[[Effort], Result] = import_module(f"bench.{name}").measure
    try:
        result = measure(effort)
    except NotMeasuredError as error:
        result = Result([not_measured(name, "", error)])
    except Exception as error:  # noqa: BLE001 - one broken measurement must not cost the others
        traceback.print_exc()
        result = Result([not_measured(name, "", f"{type(error).__name__}: {error}")])
    result.data["seconds"] = round(time.monotonic() - began, 1)
    _say(f"  {result.data['seconds']:g} s")
    return result


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
