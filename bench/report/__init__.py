"""What a run found, and where it is shown. The fault run tells the machine the same way."""

from bench.report.environment import LIBRARIES, commit, machine

__all__ = ["LIBRARIES", "commit", "machine"]
