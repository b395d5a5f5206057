"""`make bench`: the project and its peers side by side, one table.

`ONLY=pickup,drain` measures only that; `QUICK=1` makes everything small, to see that it runs.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import FrameType

from bench.lab.lab import PEERS_PYTHON, ROOT
from bench.lab.processes import NotMeasuredError
from bench.measurements import MEASUREMENTS
from bench.report import publish
from bench.report.result import Effort, Result, not_measured
from bench.report.table import assemble, table

RESULTS = ROOT / "bench/results.json"  # of a whole run
PARTIAL = ROOT / "bench/results.partial.json"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = options.folder or Path(temporary)
        effort = Effort(1 if options.quick else 3, 0.1 if options.quick else 1.0, folder, _say)
        results = {name: measure(name, effort) for name in options.chosen}
    found = assemble(results, quick=options.quick, only=options.only)
    whole = set(options.chosen) == set(MEASUREMENTS) and not options.quick
    (RESULTS if whole else PARTIAL).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(found))
    if whole:
        publish.publish(found)
        subprocess.run([str(PEERS_PYTHON), "bench/report/plots.py"], cwd=ROOT, check=True)  # noqa: S603 - our own


def _options() -> argparse.Namespace:
    each = "\n".join(f"  {name:12} {measurement.what}" for name, measurement in MEASUREMENTS.items())
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, epilog=f"measurements:\n{each}", formatter_class=form
    )
    parser.add_argument("--only", default="", help="comma-separated names of measurements")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: the figures mean nothing")
    parser.add_argument("--folder", type=Path, help="keep the logs of all processes there")
    options = parser.parse_args()
    options.chosen = [name for name in options.only.split(",") if name] or list(MEASUREMENTS)
    if unknown := set(options.chosen) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    return options


def measure(name: str, effort: Effort) -> Result:
    _say(f"\033[1m{name}\033[0m" if sys.stdout.isatty() else name)
    began = time.monotonic()
    measurement = MEASUREMENTS[name]
    run: Callable[[Effort], Result] = import_module(f"bench.measurements.{measurement.module}").measure
    try:
        with _deadline(measurement.deadline):
            result = run(effort)
    except NotMeasuredError as error:
        result = Result([not_measured(name, "", error)])
    except Exception as error:  # noqa: BLE001 - one broken measurement must not cost the others
        traceback.print_exc()
        result = Result([not_measured(name, "", f"{type(error).__name__}: {error}")])
    result.data["seconds"] = round(time.monotonic() - began, 1)
    _say(f"  {result.data['seconds']:g} s")
    return result


@contextmanager
def _deadline(most: timedelta) -> Iterator[None]:
    """Give a measurement up that hangs, wherever that is; what it started ends on the way out."""

    def give_up(_: int, __: FrameType | None) -> None:
        raise NotMeasuredError(f"it was not done after {most.total_seconds() / 60:g} minutes")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, most.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
