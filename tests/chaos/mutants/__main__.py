"""`make chaos-mutants`: the fault run must notice what is broken on purpose.

Each patch in this folder breaks a copy of the sources; a short fault run on it must find something wrong with a goal
with which nothing is wrong when nothing is broken. Ends with 1 if one goes unnoticed.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.mutants.mutant import CONTROL, Mutant, Verdict, copy, judge, mutants

RUN = ["--seed", "1", "--jobs", "300", "--rate", "12", "--every", "2.2", "--deadline", "100"]
AT_ONCE = max(2, os.cpu_count() or 2)  # runs side by side: once their processes are up they wait most of the time
DEADLINE = 300.0  # seconds for a run with all that is around it
Run = Callable[[Mutant], Awaitable[Verdict]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="parts of the patches' names, comma-separated")
    parser.add_argument("--rotate", type=int, default=0, help="only so many, other ones each day")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs side by side (default: %(default)s)")
    options = parser.parse_args()
    try:
        unnoticed = asyncio.run(report(choose(mutants(), options.only, options.rotate), options.at_once))
    except asyncio.CancelledError:
        sys.exit("told to stop")
    sys.exit(1 if unnoticed else 0)


async def report(chosen: Sequence[Mutant], at_once: int) -> int:
    """Run them and say what noticed them; gives how many went unnoticed.

    Raises CancelledError if it was told to stop by a signal: also the runs are stopped then.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)
    began, unnoticed = time.monotonic(), 0
    _say("| broken | what | noticed by |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        async for verdict, goals in verdicts(chosen, lambda mutant: run(mutant, Path(temporary)), at_once):
            _say(line(verdict.mutant, goals))
            if verdict.faults and (goals or verdict.mutant is CONTROL):
                continue
            _say(verdict.output)  # why it tells nothing
            unnoticed += verdict.mutant is not CONTROL
    minutes = (time.monotonic() - began) / 60
    _say(f"\n{len(chosen) - unnoticed} of {len(chosen)} noticed, in {minutes:.1f} minutes")
    return unnoticed


def choose(known: Sequence[Mutant], only: str, rotate: int) -> Sequence[Mutant]:
    """Choose by parts of names, or the next `rotate` ones of today."""
    if wanted := [part for part in only.split(",") if part]:
        return [mutant for mutant in known if any(part in mutant.name for part in wanted)]
    if not rotate:
        return known
    first = datetime.now(UTC).toordinal() * rotate
    return [known[(first + i) % len(known)] for i in range(rotate)]


async def verdicts(chosen: Sequence[Mutant], run: Run, at_once: int) -> AsyncIterator[tuple[Verdict, list[str]]]:
    """Run the control and the mutants; gives each mutant with the goals that show what is broken.

    What tells nothing beside others runs once more, alone: a mutant that went unnoticed and, before it, a control with
    which something was wrong or that came to no table. Without a control nothing is noticed.
    """
    places = asyncio.Semaphore(at_once)

    async def in_turn(mutant: Mutant) -> Verdict:
        async with places:
            return await run(mutant)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_turn(mutant)) for mutant in (CONTROL, *chosen)]
    control, *runs = [task.result() for task in tasks]
    shown = [_shown(verdict, control) for verdict in runs]
    yield control, sorted(control.wrong)
    if not all(shown) and (control.wrong or not control.faults):
        control = await run(CONTROL)
        yield control, sorted(control.wrong)
    for verdict, goals in zip(runs, shown, strict=True):
        if goals:
            yield verdict, goals
        else:
            again = await run(verdict.mutant)
            yield again, _shown(again, control)


def _shown(verdict: Verdict, control: Verdict) -> list[str]:
    """Give the goals with which something is wrong only because of what is broken."""
    return sorted(verdict.wrong - control.wrong) if control.faults else []


async def run(mutant: Mutant, folder: Path) -> Verdict:
    """Do a run in a folder of its own."""
    source = await asyncio.to_thread(copy, mutant, Path(tempfile.mkdtemp(prefix=mutant.name, dir=folder)) / "sources")
    return await judge(mutant, source, RUN, seconds=DEADLINE)


def line(mutant: Mutant, goals: Sequence[str]) -> str:
    return f"| {mutant.name} | {mutant.what} | {'; '.join(goals) or 'nothing'} |"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
