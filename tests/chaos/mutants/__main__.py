"""`make chaos-mutants`: the fault run must notice what is broken on purpose.

Each patch in this folder breaks a copy of the sources, and names the goal that must show it: a short run on the copy
must find something wrong with that one, and nothing if nothing is broken. Patches that have nothing to do with each
other share a run, which has faults if theirs can't be seen without. Ends with 1 if one goes unnoticed, or was not
looked at in the time that there is.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from tests.chaos.mutants.groups import groups
from tests.chaos.mutants.mutant import Group, Mutant, Verdict, copy, judge, mutants

# The short run of the tests, with what it does to processes; and its jobs without any fault. What waits for ever in one
# that is broken is given up soon.
WITH_FAULTS = ["--seed", "1", "--jobs", "300", "--rate", "12", "--every", "2.2", "--processes", "--deadline", "80"]
WITHOUT = ["--seed", "1", "--jobs", "160", "--rate", "20", "--every", "0", "--deadline", "60"]
AT_ONCE = max(2, 3 * (os.cpu_count() or 2) // 2)  # runs side by side: once their processes are up they mostly wait
DEADLINE = 240.0  # seconds for a run with all that is around it
WITHIN = 600.0  # seconds for all
SHOWN = 160  # letters of what was wrong
Run = Callable[[Group], Awaitable[Verdict]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="parts of the patches' names, comma-separated")
    parser.add_argument("--rotate", type=int, default=0, help="only so many, other ones each day")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs side by side (default: %(default)s)")
    parser.add_argument("--within", type=float, default=WITHIN, help="seconds for all of them (default: %(default)s)")
    options = parser.parse_args()
    chosen = choose(mutants(), options.only, options.rotate)
    try:
        unnoticed = asyncio.run(report(chosen, options.at_once, options.within))
    except asyncio.CancelledError:
        sys.exit("told to stop")
    sys.exit(1 if unnoticed else 0)


async def report(chosen: Sequence[Mutant], at_once: int, within: float) -> int:
    """Run them and say what noticed them; gives how many went unnoticed, or were not looked at `within` the seconds.

    Raises CancelledError if it was told to stop by a signal: also the runs are stopped then.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)
    began, noticed = time.monotonic(), 0
    _say("| broken | what | noticed by |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        try:
            async with asyncio.timeout(within):
                async for found in findings(chosen, lambda group: run(group, Path(temporary)), at_once):
                    _say(found.line)
                    if not (found.goals or (found.mutant is None and found.verdict.faults)):
                        _say(found.verdict.output)  # why it tells nothing
                    noticed += bool(found.mutant and found.goals)
        except TimeoutError:
            _say(f"\nstopped after {within:g} s: what has no line here was not looked at, or went unnoticed")
    minutes = (time.monotonic() - began) / 60
    _say(f"\n{noticed} of {len(chosen)} noticed, in {minutes:.1f} minutes")
    return len(chosen) - noticed


def choose(known: Sequence[Mutant], only: str, rotate: int) -> Sequence[Mutant]:
    """Choose by parts of names, or the next `rotate` ones of today."""
    if wanted := [part for part in only.split(",") if part]:
        return [mutant for mutant in known if any(part in mutant.name for part in wanted)]
    if not rotate:
        return known
    first = datetime.now(UTC).toordinal() * rotate
    return [known[(first + i) % len(known)] for i in range(rotate)]


@dataclass(frozen=True)
class Finding:
    """What a run said of a mutant, or of none (the control): `goals` show it, or are what is wrong with the control."""

    mutant: Mutant | None
    goals: list[str]
    verdict: Verdict

    @property
    def line(self) -> str:
        """A line of the table."""
        name, what = (self.mutant.name, self.mutant.what) if self.mutant else ("control", "Nothing is broken.")
        return f"| {name} | {what} | {'; '.join(map(self._shown, self.goals)) or 'nothing'} |"

    def _shown(self, goal: str) -> str:
        """Name a goal and the first thing that was wrong with it: it must be what this breakage does."""
        faults = self.verdict.faults[goal]
        return f"{goal}: {faults[0][:SHOWN]}" + (f", and {len(faults) - 1} more" if len(faults) > 1 else "")


async def findings(chosen: Sequence[Mutant], run: Run, at_once: int) -> AsyncIterator[Finding]:
    """Run the mutants in groups, and a control with faults and one without.

    Gives each mutant with the goals of its own that show it. What tells nothing has another run, with no run beside it:
    a control that came to no table or hides a mutant, whose goal must be well in one of the two then; and after it a
    mutant that is unnoticed still. Without a control nothing is noticed.
    """
    places, shared = asyncio.Semaphore(at_once), groups(chosen)

    async def in_turn(group: Group) -> Verdict:
        async with places:
            return await run(group)

    kinds = sorted({group.faults for group in shared}, reverse=True)
    every = [*(Group(faults=faults) for faults in kinds), *shared]
    async with asyncio.TaskGroup() as tasks:
        done = {group: tasks.create_task(in_turn(group)) for group in _mixed(every)}
    controls = {faults: done[Group(faults=faults)].result() for faults in kinds}
    runs = {each: done[group].result() for group in shared for each in group.mutants}
    for faults in kinds:
        yield _control(first := controls[faults])
        unseen = [each for each in chosen if each.hit is faults and not _finding(each, runs[each], first).goals]
        if unseen and _hides(first, unseen):
            yield _control(second := await run(Group(faults=faults)))
            controls[faults] = first.both(second)
    for mutant in chosen:
        found = _finding(mutant, runs[mutant], controls[mutant.hit])
        if not found.goals:
            again = await run(Group((mutant,), faults=mutant.hit))
            found = _finding(mutant, again, controls[mutant.hit])
        yield found


def _mixed(every: Sequence[Group]) -> Iterator[Group]:
    """Give two without faults after each with: those take longest, and would do the same at the same time."""
    others = (group for group in every if not group.faults)
    for group in every:
        if group.faults:
            yield group
            yield from islice(others, 2)
    yield from others


def _control(verdict: Verdict) -> Finding:
    return Finding(None, sorted(verdict.wrong), verdict)


def _hides(control: Verdict, unseen: Sequence[Mutant]) -> bool:
    """Say whether it came to no table, or one of them shows only where something is wrong anyway."""
    return not control.faults or any(mutant.noticed(control.wrong) for mutant in unseen)


def _finding(mutant: Mutant, verdict: Verdict, control: Verdict) -> Finding:
    """Look for goals with which something is wrong only because of what is broken."""
    return Finding(mutant, mutant.noticed(verdict.wrong - control.wrong) if control.faults else [], verdict)


async def run(group: Group, folder: Path) -> Verdict:
    """Do a run in a folder of its own."""
    source = await asyncio.to_thread(copy, group, Path(tempfile.mkdtemp(dir=folder)) / "sources")
    return await judge(source, WITH_FAULTS if group.faults else WITHOUT, seconds=DEADLINE)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
