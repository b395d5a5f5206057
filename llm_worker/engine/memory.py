"""How much memory this process holds."""

import resource
import sys
from pathlib import Path

STATM = Path("/proc/self/statm")  # proc(5); Linux


def resident() -> int:
    """Give the resident memory in bytes; where the system does not tell, the most that it ever was."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
