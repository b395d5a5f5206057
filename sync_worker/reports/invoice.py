"""An invoice: its shape and its sums."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Annotated

from pydantic import Field

from tandem.sync_worker.reports.layout import columns
from tandem.sync_worker.reports.layout.columns import MM_PER_POINT, Fit, Needs, Paper
from tandem.sync_worker.reports.layout.text_width import BOLD, measure
from tandem.sync_worker.reports.money import money, price, quantity, rounded
from tandem.sync_worker.reports.template_data import TemplateData

Amount = Annotated[Decimal, Field(ge=-(10**12), le=10**12)]
Rate = Annotated[Decimal, Field(ge=0, le=100)]
MAX_TEXT = 30_000  # characters of one field: some ten pages of it
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Note = Annotated[str, Field(max_length=MAX_TEXT)]
LONG = 600
PAPER = Paper(170)
MANY = 14  # items; more are set tighter, so that a long invoice stays on one page for as long as it can
SIZES, DENSE_SIZES = (8.8, 8.0, 7.2, 6.4, 5.8), (8.0, 7.2, 6.4, 5.8)  # points
DESCRIPTION = 25.0  # em, at least where there is room
UNBOUNDED = 1000.0  # em: it takes whatever is left
DUE = 55.0  # mm
HEAD = 0.86  # the head, to the type of the items, with the space between its letters
LARGE = 1.45  # the total, to the type of the items: larger, and bold


class Party(TemplateData):
    """Who sells or buys."""

    name: Text
    address: Note | None = None
    tax_id: Note | None = None
    email: Note | None = None
    phone: Note | None = None
    website: Note | None = None


class Item(TemplateData):
    """One line; `tax_rate` in percent, if it differs from the invoice's."""

    description: Text
    details: Note | None = None
    quantity: Amount = Decimal(1)
    unit: Note | None = None
    unit_price: Amount
    tax_rate: Rate | None = None

    @property
    def long(self) -> bool:
        """Tell whether its line may be too high to stand on one page."""
        return len(self.description) + len(self.details or "") + len(self.unit or "") > LONG


class Invoice(TemplateData):
    """The data of the template `invoice`. Amounts are net; rates are percent.

    Every line is rounded to the currency's minor unit, then summed; tax is computed on the sum of
    each rate and rounded once (EN 16931, BR-CO-17).
    """

    heading: Text = "Invoice"
    number: Text
    date: dt.date
    due: dt.date | None = None
    reference: Note | None = None
    currency: str = Field(pattern="^[A-Z]{3}$")
    seller: Party
    buyer: Party
    items: list[Item] = Field(min_length=1, max_length=5000)
    tax_rate: Rate | None = None
    tax_label: Text = "VAT"
    payment: dict[Note, Note] = {}
    note: Note | None = None
    logo: str | None = Field(default=None, pattern="^data:image/")

    def amount(self, item: Item) -> Decimal:
        """Return the net amount of a line."""
        return rounded(item.quantity * item.unit_price, self.currency)

    @cached_property
    def subtotal(self) -> Decimal:
        return sum((self.amount(item) for item in self.items), Decimal(0))

    @cached_property
    def taxes(self) -> list[tuple[Decimal, Decimal]]:
        """Rate and tax, a pair for each rate that occurs."""
        bases: dict[Decimal, Decimal] = {}
        for item in self.items:
            if (rate := self.rate(item)) is not None:
                bases[rate] = bases.get(rate, Decimal(0)) + self.amount(item)
        return [(rate, rounded(base * rate / 100, self.currency)) for rate, base in sorted(bases.items())]

    @cached_property
    def total(self) -> Decimal:
        return self.subtotal + sum((tax for _, tax in self.taxes), Decimal(0))

    @property
    def dense(self) -> bool:
        return len(self.items) > MANY

    @cached_property
    def mixed(self) -> bool:
        """Tell whether every item says its rate."""
        return len(self.taxes) > 1 or any(item.tax_rate is not None for item in self.items)

    def rate(self, item: Item) -> Decimal | None:
        """Return the rate of a line, in percent."""
        return self.tax_rate if item.tax_rate is None else item.tax_rate

    @cached_property
    def fit(self) -> Fit:
        """How the items fit the page.

        Raises:
            DoesNotFit: they don't.

        """
        texts = columns.needs("Description", head=["Description"], cells=[item.description for item in self.items])
        description = Needs("Description", 0, max(texts.word, DESCRIPTION), UNBOUNDED)
        numbers = [self._quantities, self._prices, *([self._rates] if self.mixed else []), self._amounts]
        return columns.fit([description, *numbers], papers=[PAPER], sizes=DENSE_SIZES if self.dense else SIZES)

    @property
    def due_size(self) -> float:
        """Size of type, in points, in which the total stands on one line beside the dates."""
        room = DUE / (measure(money(self.total, self.currency)) * BOLD * MM_PER_POINT)
        return round(min(SIZES[0], room), 2)

    @property
    def _quantities(self) -> Needs:
        cells = [text for item in self.items for text in (quantity(item.quantity), item.unit or "")]
        lines = [f"{quantity(item.quantity)} {item.unit or ''}" for item in self.items]
        found = columns.needs("Quantity", head=[], cells=cells)
        return replace(_headed(found), line=columns.needs("", head=[], cells=lines).line)

    @property
    def _prices(self) -> Needs:
        cells = [price(item.unit_price, self.currency) for item in self.items]
        return _headed(columns.needs("Unit price", head=[], cells=cells))

    @property
    def _rates(self) -> Needs:
        cells = [f"{quantity(rate)}%" for item in self.items if (rate := self.rate(item)) is not None]
        return columns.needs(self.tax_label, head=[self.tax_label], cells=cells)

    @property
    def _amounts(self) -> Needs:
        cells = [price(self.amount(item), self.currency) for item in self.items]
        cells += [money(tax, self.currency) for _, tax in self.taxes] + [money(self.subtotal, self.currency)]
        total = money(self.total, self.currency)
        found = _headed(columns.needs(f"Amount, {self.currency}", head=[], cells=cells))
        return replace(found, number=max(found.number, measure(total) * LARGE))


def _headed(column: Needs) -> Needs:
    """Let its head stand on one line: small capitals, set wide."""
    return replace(column, number=max(column.number, measure(column.name.upper()) * HEAD))
