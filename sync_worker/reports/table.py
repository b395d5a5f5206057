"""A table: columns, rows of lists or of fields, perhaps a row of totals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tandem.sync_worker.reports.layout import columns
from tandem.sync_worker.reports.layout.columns import Fit, Needs, Paper
from tandem.sync_worker.reports.money import MAX_DECIMALS, MINUS, decimal, decimal_places, number
from tandem.sync_worker.reports.template_data import TemplateData

Align = Literal["left", "right", "center"]
Value = str | int | float | bool | None
Row = list[Value] | dict[str, Value]
WIDE = 7  # more columns than this lie across the page
PORTRAIT, LANDSCAPE = Paper(170), Paper(265, landscape=True)
SIZES = (8.2, 7.6, 7.0, 6.4, 5.8, 5.2)  # points
LONG = 600  # characters
MAX_TEXT = 30_000  # characters of one cell: some ten pages of it
MAX_CELLS = 30_000  # some 60 s and 820 MB of layout, within the default memory limit; past that a PDF is the wrong form


class Column(TemplateData):
    """One column. Without `align`, a column of numbers is aligned right. Fractions get equal decimals."""

    key: str
    label: str
    align: Align | None = None
    decimals: int | None = Field(default=None, ge=0, le=6)


@dataclass(frozen=True)
class Cell:
    """A value as it is shown."""

    text: str
    align: Align

    @property
    def whole(self) -> bool:
        """Tell whether it is a number, and stays on one line."""
        return columns.is_number(self.text)

    @property
    def long(self) -> bool:
        """Tell whether its row may be too high to stand on one page."""
        return len(self.text) > LONG


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return {"key": value, "label": value}
    if isinstance(value, dict) and "key" in value:
        return {"label": value["key"], **value}
    return value


class Table(TemplateData):
    """The data of the template `table`. Fields of a row that no column names are left out."""

    title: str | None = None
    subtitle: str | None = None
    columns: list[Annotated[Column, BeforeValidator(_column)]] = Field(min_length=1, max_length=30)
    rows: list[Row]
    totals: Row | None = None
    note: str | None = None
    orientation: Literal["portrait", "landscape"] | None = None

    @model_validator(mode="after")
    def _size(self) -> Self:
        if (cells := len(self.rows) * len(self.columns)) > MAX_CELLS:
            raise ValueError(f"{len(self.rows)} rows are {cells} cells; a report holds {MAX_CELLS}")
        return self

    @model_validator(mode="after")
    def _widths(self) -> Self:
        for index, row in enumerate([*self.rows, self.totals]):
            if isinstance(row, list) and len(row) != len(self.columns):
                name = "totals" if index == len(self.rows) else f"row {index + 1}"
                raise ValueError(f"{name} has {len(row)} values for {len(self.columns)} columns")
        return self

    @model_validator(mode="after")
    def _texts(self) -> Self:
        for index, row in enumerate([*self._values, *([self._pick(self.totals)] if self.totals is not None else [])]):
            for column, value in zip(self.columns, row, strict=True):
                if isinstance(value, str) and len(value) > MAX_TEXT:
                    name = "totals" if index == len(self.rows) else f"row {index + 1}"
                    where = f"{name}, column {column.label[:60]!r}"
                    raise ValueError(f"{where} has {len(value)} characters; a cell holds {MAX_TEXT}")
        return self

    @cached_property
    def fit(self) -> Fit:
        """How it fits the page.

        Raises:
            DoesNotFit: it does not.

        """
        foot: Sequence[Cell | None] = self.foot or [None] * len(self.columns)
        body = list(zip(*self.body, strict=True)) or [()] * len(self.columns)
        return columns.fit(list(map(_needs, self.columns, body, foot)), papers=self._papers, sizes=SIZES)

    @property
    def _papers(self) -> list[Paper]:
        if self.orientation is not None:
            return [LANDSCAPE if self.orientation == "landscape" else PORTRAIT]
        return [LANDSCAPE] if len(self.columns) > WIDE else [PORTRAIT, LANDSCAPE]

    @cached_property
    def body(self) -> list[list[Cell]]:
        return [self._cells(row) for row in self._values]

    @property
    def foot(self) -> list[Cell] | None:
        return None if self.totals is None else self._cells(self._pick(self.totals))

    @cached_property
    def aligns(self) -> list[Align]:
        """The alignment of each column."""
        kept: Sequence[Sequence[Value]] = list(zip(*self._values, strict=True)) or [()] * len(self.columns)
        return [
            column.align or ("right" if _numeric(values) else "left")
            for column, values in zip(self.columns, kept, strict=True)
        ]

    @cached_property
    def _values(self) -> list[list[Value]]:
        return [self._pick(row) for row in self.rows]

    def _pick(self, row: Row) -> list[Value]:
        return row if isinstance(row, list) else [row.get(column.key) for column in self.columns]

    @cached_property
    def _decimals(self) -> list[int | None]:
        """The decimals of each column: as asked for, or those of its longest fraction.

        None leaves numbers as they came: in a column of whole numbers 2026 may be a year.
        """
        found = [max((_places(row[index]) for row in self._values), default=0) for index in range(len(self.columns))]
        return [
            column.decimals if column.decimals is not None else (min(places, MAX_DECIMALS) or None)
            for column, places in zip(self.columns, found, strict=True)
        ]

    def _cells(self, values: list[Value]) -> list[Cell]:
        return [Cell(*cell) for cell in zip(map(_text, values, self._decimals), self.aligns, strict=True)]


def _needs(column: Column, cells: Sequence[Cell], total: Cell | None) -> Needs:
    return columns.needs(
        column.label,
        head=[column.label],
        cells=[cell.text for cell in cells],
        bold=[total.text] if total else [],
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numeric(values: Sequence[Value]) -> bool:
    given = [value for value in values if value is not None]
    return bool(given) and all(map(_is_number, given))


def _places(value: Value) -> int:
    return decimal_places(decimal(value)) if isinstance(value, float) else 0


def _text(value: Value, decimals: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return value
    # Without decimals there are no fractions in the column, but there may be 5.0 and -0.0, and numbers of 20 digits.
    return f"{decimal(value or 0):.0f}".replace("-", MINUS) if decimals is None else number(value, decimals)
