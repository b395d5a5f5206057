"""Whom a fault leaves: with nobody at work it would show how long a process takes to start, and nothing of recovery."""

from collections.abc import Sequence

from tests.chaos.plan.model import Fault, Role
from tests.chaos.platform import Slot

LEFT = {Role.LLM: 2, Role.SYNC: 1, Role.SUPERVISOR: 1}  # others of its pool that work when a process is hit
OTHERS = 40.0  # seconds that a fault waits for them in a long run, and in a short one less


def enough_left(slot: Slot, slots: Sequence[Slot], fault: Fault) -> bool:
    """Say whether enough others of the pool work for a fault that takes this one."""
    others = [other.works for other in slots if other is not slot]
    return fault.at_once or sum(others) >= min(LEFT.get(fault.role, 0), len(others))
