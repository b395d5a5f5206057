"""How long the server works on single calls, by its own figures."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

from tandem.shared.store.executor import Book
from tandem.shared.store.scripts import Call

T = TypeVar("T")


@dataclass(frozen=True)
class Totals:
    """Of the server, in ms: what calls took, what its main thread has computed; and how many commands, in all."""

    took: float
    computed: float
    commands: int

    @classmethod
    def read(cls, book: Book, name: str) -> "Totals":
        found: Any = book.client.execute_command("INFO", "cpu", "commandstats")  # type: ignore[no-untyped-call]  # redis-py has no types here
        called = found.get(f"cmdstat_{name}", {"usec": 0})
        cpu = found["used_cpu_user_main_thread"] + found["used_cpu_sys_main_thread"]
        stats = [value for key, value in found.items() if key.startswith("cmdstat_") and key != "cmdstat_info"]
        return cls(called["usec"] / 1000, cpu * 1000, sum(stat["calls"] for stat in stats))


@dataclass
class Timed:
    """One kind of call: the ms and the commands of each that was run."""

    name: str
    ms: list[float] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)

    @property
    def worst(self) -> float:
        return max(self.ms)

    @property
    def median(self) -> float:
        return median(self.ms)

    def as_json(self) -> dict[str, Any]:
        return {
            "longest_ms": round(self.worst, 2),
            "median_ms": round(self.median, 2),
            "calls": len(self.ms),
            "most_commands": max(self.commands),
        }


class Stopwatch:
    """Times calls one by one.

    What counts of a call is the time from its begin to its end, or the processor time of the server's main thread
    meanwhile, whichever is less: the former holds what others on the machine took from it, the latter what reading the
    request and writing the answer took, in which other clients have their turns.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self.rows: list[Timed] = []

    def time(self, name: str, calls: Iterable[Call[T]]) -> list[T]:
        """Run calls; gives their answers."""
        row, answers = Timed(name), []
        for call in calls:
            command = _command(call)
            before = Totals.read(self.book, command)
            answers.append(self.book.run(call))
            after = Totals.read(self.book, command)
            row.ms.append(min(after.took - before.took, after.computed - before.computed))
            row.commands.append(after.commands - before.commands)
        if row.ms:
            self._add(row)
        return answers

    def _add(self, row: Timed) -> None:
        """Keep one row of each name."""
        for known in self.rows:
            if known.name == row.name:
                known.ms += row.ms
                known.commands += row.commands
                return
        self.rows.append(row)


def _command(call: Call[Any]) -> str:
    """Name a call's command as the server counts it."""
    if not call.command:
        return "fcall"
    name = call.name.lower()
    return f"{name}|{str(call.args[0]).lower()}" if name == "function" else name
