"""`make chaos SEED=n JOBS=n`: jobs of both pools, while all that runs them is killed, stopped, restarted and cut off.

The seed gives the plan: what is submitted when, and what is done to whom. The run ends with a table, and with 1 if
anything in it is not as it must be.
"""

import argparse
import json
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import page, report
from tests.chaos.plan.make import make
from tests.chaos.run import run

JOBS, RATE, EVERY = 20_000, 33.0, 4.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the plan; default: a random one, which is shown")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many are submitted (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="submissions a second (default: %(default)s)")
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between faults, 0: none (%(default)s)")
    parser.add_argument("--processes", action="store_true", help="hit only them: not Redis, the network and the disk")
    parser.add_argument("--folder", type=Path, help="keep the logs of all processes and their data there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reference/fault-runs.md")
    parser.add_argument("--json", type=Path, help="write there what was wrong with each goal")
    parser.add_argument("--deadline", type=float, help="seconds after which the run gives up (default: the plan's)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # end what was started, too
    seed = secrets.randbelow(10_000) if options.seed is None else options.seed
    made = make(seed, jobs=options.jobs, rate=options.rate, every=options.every, shared=not options.processes)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        facts, rows = run(made, options.folder or Path(temporary), _say, deadline=options.deadline)
    summary = report.summary(facts, command=_command(options, seed), seconds=time.monotonic() - began)
    _say(f"\n{summary}\n\n{report.table(rows)}\n")
    if options.write:
        page.publish(summary, rows, seed)
    if options.json:
        options.json.write_text(json.dumps({row.goal: row.faults for row in rows}))
    if faults := report.wrong(rows):
        _say(faults)
        sys.exit(1)


def _command(options: argparse.Namespace, seed: int) -> str:
    sizes = f" --rate {options.rate:g} --every {options.every:g}" + " --processes" * options.processes
    if (options.rate, options.every, options.processes) != (RATE, EVERY, False):
        return f"python -m tests.chaos --seed {seed} --jobs {options.jobs}{sizes}"
    return f"make chaos SEED={seed} JOBS={options.jobs}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
