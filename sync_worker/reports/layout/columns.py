"""How a table is made to fit a page: what its columns need, then the page, the size of type and their widths.

A number is never broken. A word is only if it is long, or if smaller type is not enough. What can't fit is an error:
nothing is ever cut off.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tandem.shared.errors import FinalError
from tandem.sync_worker.reports.layout.text_width import BOLD, measure

# Amounts, dates and the like, with a currency perhaps: `€1,234.50`, `CHF 12`, `2026-11-22`.
NUMBER = re.compile(r"(?=.*\d)([A-Z]{3}\s?)?[\d\s.,'\u2019:/+\-\u2212\u2013()%€$£¥₹₩]+([A-Z]{3})?")
# Between words, and anywhere in Chinese and Japanese text, a line may end.
BETWEEN = re.compile(r"[\s\u2e80-\uabff\uf900-\ufaff]+")
LONGEST_NUMBER = 40  # characters; what is longer is an identifier, and may be broken
MEASURED = 300  # characters of a text that its column's width is drawn from
WORD, BROKEN_WORD, SYLLABLE = 18.0, 5.0, 3.0  # em: a longer word may be broken; when it gets tight; and very tight
WISH = 45.0  # em: a line of text that is still read with ease
MM_PER_POINT = 25.4 / 72
PADDING, TIGHT_PADDING = 0.76, 0.4  # em, at each side of a cell


class DoesNotFit(FinalError):
    """A table that no page is wide enough for; the message names columns."""

    type = "does_not_fit"


@dataclass(frozen=True)
class Paper:
    """A page by the width of what is printed, in mm."""

    width: float
    landscape: bool = False


@dataclass(frozen=True)
class Needs:
    """What a column needs, in em: for its widest number, its widest word and its widest line."""

    name: str
    number: float
    word: float
    line: float

    def least(self, word: float) -> float:
        """Give the least width if words longer than `word` are broken."""
        return max(self.number, min(self.word, word))


@dataclass(frozen=True)
class Fit:
    """A table that fits: size of type in points, padding in em, widths of the columns in percent."""

    paper: Paper
    size: float
    padding: float
    widths: list[float]


def is_number(text: str) -> bool:
    """Tell whether a cell's text must stay on one line."""
    return len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) is not None


def needs(name: str, *, head: Iterable[str], cells: Iterable[str], bold: Iterable[str] = ()) -> Needs:
    """Measure a column: its head, its cells, and those set in bold."""
    number = word = line = 0.0
    for texts, factor in ((head, 1.0), (cells, 1.0), (bold, BOLD)):
        for text in texts:
            widest_line = measure(text[:MEASURED]) * factor
            line = max(line, widest_line)
            if is_number(text):
                number = max(number, widest_line)
            elif text:
                word = max(word, measure(max(BETWEEN.split(text), key=len)[:MEASURED]) * factor)
    return Needs(name, number, word, min(line, max(WISH, number)))


def fit(
    columns: Sequence[Needs],
    *,
    papers: Sequence[Paper],
    sizes: Sequence[float],
    broken: Sequence[float] = (BROKEN_WORD, SYLLABLE),
) -> Fit:
    """Find the largest of `sizes` and the first of `papers` that hold the columns.

    Where no size holds words whole, those longer than the first of `broken`, in em, are broken, then the next's.

    Raises:
        DoesNotFit: none does.

    """
    whole = (WORD, PADDING, sizes[:1]), (WORD, TIGHT_PADDING, sizes)
    for word, padding, tried in (*whole, *((longest, TIGHT_PADDING, sizes) for longest in broken)):
        least = [column.least(word) + 2 * padding for column in columns]
        for size in tried:
            for paper in papers:
                room = paper.width / (size * MM_PER_POINT)
                if sum(least) <= room:
                    return Fit(paper, size, padding, _widths(columns, least, room, padding))
    raise DoesNotFit(_reason(columns))


def _widths(columns: Sequence[Needs], least: Sequence[float], room: float, padding: float) -> list[float]:
    """Share what is left by what the columns could use, and what is left then by what they have."""
    wanted = [max(column.line + 2 * padding - has, 0) for column, has in zip(columns, least, strict=True)]
    share = min(1.0, (room - sum(least)) / (sum(wanted) or 1))
    widths = [has + share * more for has, more in zip(least, wanted, strict=True)]
    return [round(100 * width / sum(widths), 3) for width in widths]


def _reason(columns: Sequence[Needs]) -> str:
    widest = sorted(columns, key=lambda column: column.least(SYLLABLE), reverse=True)[:3]
    names = ", ".join(repr(column.name[:60]) for column in widest)
    return f"a table of {len(columns)} columns is wider than the page in the smallest type; the widest: {names}"
