"""Which workers have requests open at the provider, by its log: a fault is to hit work."""

import json
from pathlib import Path


class AtWork:
    """Reads the provider's log as it grows."""

    def __init__(self, log: Path, *, but: frozenset[str]) -> None:
        self._log, self._but = log, but  # models that don't count
        self._read = 0
        self._open: dict[int, str] = {}  # askers by the request's number

    def requests(self, worker: str) -> int:
        """Count the open requests of a worker."""
        self._catch_up()
        return sum(asker == worker for asker in self._open.values())

    def _catch_up(self) -> None:
        with self._log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            if "ended" in entry:
                self._open.pop(entry["number"], None)
            elif entry["model"] not in self._but:
                self._open[entry["number"]] = entry["asker"]
