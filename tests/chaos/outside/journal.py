"""What the runs of journal tasks wrote (`tests/support/tasks/sync/journal.py`)."""

from pathlib import Path

from tests.chaos.outside import lines
from tests.chaos.outside.records import SyncRun


def read(log: Path) -> list[SyncRun]:
    """Read the journal, in the order in which the runs began."""
    return [SyncRun(**entry) for entry in lines.read(log, "token")]
