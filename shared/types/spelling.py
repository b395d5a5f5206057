"""Which name somebody meant who wrote another one."""

import difflib
from collections.abc import Iterable

SHORT = 4  # names such as PORT have too many neighbours: of these only swapped letters are a misspelling


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the name that is one slip away, else the one that looks most like it; None if none does."""
    names = list(known)
    slips = [one for one in names if is_misspelt(name, one)]
    return next(iter(slips or difflib.get_close_matches(name, names, n=1)), None)


def is_misspelt(name: str, meant: str) -> bool:
    """Tell whether a name is `meant` with one slip; underscores don't count."""
    name, meant = name.replace("_", ""), meant.replace("_", "")
    return _distance(name, meant) <= 1 and (len(meant) > SHORT or sorted(name) == sorted(meant))


def _distance(one: str, other: str) -> int:
    """Count the slips: letters that are missing, added, wrong, or swapped with the next (optimal string alignment)."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, there in enumerate(other, 1):
            least = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != there))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there
            row.append(min(least, older[j - 2] + 1) if swapped else least)
    return row[-1]
