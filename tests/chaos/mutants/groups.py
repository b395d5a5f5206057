"""Which mutants share a run: those that change different places, and are to be seen by different goals."""

from collections.abc import Iterable, Sequence

from tests.chaos.mutants.mutant import Group, Mutant, fit

MOST = 10  # in one run


def groups(mutants: Iterable[Mutant]) -> list[Group]:
    """Put each into the smallest group that has room for it and with which it has nothing in common.

    Whom most others disturb comes first, so that the groups are few. Those that need faults are among themselves: a run
    without any is shorter, and nothing in it is excused.
    """
    known = list(mutants)
    needy, others = [each for each in known if each.hit], [each for each in known if not each.hit]
    return [Group(group, faults=True) for group in _shared(needy)] + [Group(group) for group in _shared(others)]


def _shared(mutants: Sequence[Mutant]) -> list[tuple[Mutant, ...]]:
    found: list[list[Mutant]] = []
    for mutant in sorted(mutants, key=lambda one: sum(_apart(one, other) for other in mutants)):
        roomy = (group for group in found if len(group) < MOST and all(_apart(mutant, other) for other in group))
        fitting = (group for group in roomy if fit([*group, mutant]))
        if (group := min(fitting, key=len, default=None)) is None:
            found.append(group := [])
        group.append(mutant)
    return [tuple(group) for group in found]


def _apart(one: Mutant, other: Mutant) -> bool:
    return not (_shows(one, other) or _shows(other, one))


def _shows(one: Mutant, other: Mutant) -> bool:
    """Say whether the goal that is to show one may turn because of the other."""
    return any(one.row in goal or goal in one.row for goal in (other.row, *other.also))
