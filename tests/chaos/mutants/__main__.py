"""`make chaos-mutants`: the fault run must notice what is broken on purpose.

Each patch in this folder breaks a copy of the sources; a short fault run on it must find something wrong with a goal
with which nothing is wrong when nothing is broken. Ends with 1 if one goes unnoticed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.mutants.mutant import CONTROL, Mutant, Verdict, copy, judge, mutants

RUN = ["--seed", "1", "--jobs", "300", "--rate", "12", "--every", "2.2", "--deadline", "100"]
AT_ONCE = 4  # runs side by side: they wait most of the time
DEADLINE = 240.0  # seconds for a run with all that is around it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="parts of the patches' names, comma-separated")
    parser.add_argument("--rotate", type=int, default=0, help="only so many, other ones each day")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs side by side (default: %(default)s)")
    options = parser.parse_args()
    began = time.monotonic()
    unnoticed = []
    chosen = choose(mutants(), options.only, options.rotate)
    _say("| broken | what | noticed by |\n|---|---|---|")
    for verdict, goals in verdicts(chosen, options.at_once):
        _say(line(verdict.mutant, goals))
        if not goals:
            _say(verdict.output)
            unnoticed.append(verdict.mutant.name)
    _say(f"\n{len(chosen) - len(unnoticed)} of {len(chosen)} noticed, in {(time.monotonic() - began) / 60:.1f} minutes")
    if unnoticed:
        sys.exit(1)


def choose(known: Sequence[Mutant], only: str, rotate: int) -> Sequence[Mutant]:
    """Choose by parts of names, or the next `rotate` ones of today."""
    if wanted := [part for part in only.split(",") if part]:
        return [mutant for mutant in known if any(part in mutant.name for part in wanted)]
    if not rotate:
        return known
    first = datetime.now(UTC).toordinal() * rotate
    return [known[(first + i) % len(known)] for i in range(rotate)]


def verdicts(chosen: Sequence[Mutant], at_once: int) -> Iterator[tuple[Verdict, list[str]]]:
    """Run the control, then each mutant; gives the goals with which something is wrong because of what is broken."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary, ThreadPoolExecutor(at_once) as pool:
        runs = pool.map(lambda mutant: run(mutant, Path(temporary)), [CONTROL, *chosen])
        control = next(runs)
        _say(
            line(CONTROL, sorted(control.wrong))
            if control.faults
            else f"the control came to no table:\n{control.output}"
        )
        for verdict in runs:
            yield verdict, sorted(verdict.wrong - control.wrong)


def run(mutant: Mutant, folder: Path) -> Verdict:
    return judge(mutant, copy(mutant, folder), RUN, seconds=DEADLINE)


def line(mutant: Mutant, goals: Sequence[str]) -> str:
    return f"| {mutant.name} | {mutant.what} | {'; '.join(goals) or 'nothing'} |"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
