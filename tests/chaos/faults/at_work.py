"""Who is at work, by the provider's log and the journal: a fault is to hit work, and not its last moment."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.plan.model import GOODBYE, LEAVES_LATE

MARKED = 0.8  # seconds in which a mail that was taken is written down
LASTS = 0.3  # seconds that a sync job has lasted when its worker is hit, or still takes
KILLED = 0.4  # seconds in which a process is found and killed, before it ends


class AtWork:
    """Reads the provider's log and the journal as they grow."""

    def __init__(self, provider: Path, journal: Path, *, but: frozenset[str], lengths: Mapping[str, float]) -> None:
        """`but`: models that don't count; `lengths`: how many seconds a journal task takes, by its marker."""
        self._provider, self._journal = _Growing(provider), _Growing(journal)
        self._but, self._lengths = but, lengths
        self._open: dict[int, tuple[str, str]] = {}  # askers and markers by the request's number
        self._ends: dict[int, float] = {}  # of journal tasks, by their process, if it lives

    def requests(self, worker: str) -> list[str]:
        """Give the markers of a worker's open requests."""
        for entry in self._provider.entries():
            if "ended" in entry:
                self._open.pop(entry["number"], None)
            elif entry["model"] not in self._but:
                self._open[entry["number"]] = entry["asker"], entry["marker"]
        return [marker for asker, marker in self._open.values() if asker == worker]

    def lasts(self, horse: int, *, age: float) -> bool:
        """Say whether the job of a process, of that age, is one that goes on: nobody knows it of a report or a mail.

        A journal task that its submitter cancels soon is none.
        """
        return self.left(horse) > LASTS or (horse not in self._ends and age > LASTS)

    def left(self, horse: int) -> float:
        """Give the seconds that the journal task of this process still takes; 0 if it has none that lasts."""
        for entry in self._journal.entries():
            if "began" in entry:
                self._ends[entry["pid"]] = entry["began"] + self._lengths.get(entry["marker"], 0.0)
        return max(0.0, self._ends.get(horse, 0.0) - time.time())


class Leaving:
    """Reads the mail server's log: whose mail is taken, and who still waits for the server's goodbye."""

    def __init__(self, log: Path) -> None:
        self._log = _Growing(log)
        self._taken: dict[str, float] = {}  # when, by the job's id

    def jobs(self) -> frozenset[str]:
        """Give the ids of the jobs that have had time to write down that their mail is taken, and have not ended."""
        for entry in self._log.entries():
            if LEAVES_LATE in entry["to"]:
                self._taken[entry["job"]] = entry["at"]
        return frozenset(job for job, at in self._taken.items() if MARKED <= time.time() - at <= GOODBYE - KILLED)


class _Growing:
    """A log of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def entries(self) -> Iterator[dict[str, Any]]:
        """Give what is new since the last look, line by line."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        yield from (json.loads(line) for line in whole.splitlines())
