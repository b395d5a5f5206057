"""An invoice: its shape and its sums."""

import datetime as dt
from decimal import Decimal
from functools import cached_property
from typing import Annotated

from pydantic import Field

from tandem.sync_worker.reports.money import rounded
from tandem.sync_worker.reports.template_data import TemplateData

Amount = Annotated[Decimal, Field(ge=-(10**12), le=10**12)]
Rate = Annotated[Decimal, Field(ge=0, le=100)]
Text = Annotated[str, Field(min_length=1)]


class Party(TemplateData):
    """Who sells or buys."""

    name: Text
    address: str | None = None
    tax_id: str | None = None
    email: str | None = None
    phone: str | None = None
    website: str | None = None


class Item(TemplateData):
    """One line; `tax_rate` in percent, if it differs from the invoice's."""

    description: Text
    details: str | None = None
    quantity: Amount = Decimal(1)
    unit: str | None = None
    unit_price: Amount
    tax_rate: Rate | None = None


class Invoice(TemplateData):
    """The data of the template `invoice`. Amounts are net; rates are percent.

    Every line is rounded to the currency's minor unit, then summed; tax is computed on the sum of
    each rate and rounded once (EN 16931, BR-CO-17).
    """

    heading: Text = "Invoice"
    number: Text
    date: dt.date
    due: dt.date | None = None
    reference: str | None = None
    currency: str = Field(pattern="^[A-Z]{3}$")
    seller: Party
    buyer: Party
    items: list[Item] = Field(min_length=1, max_length=5000)
    tax_rate: Rate | None = None
    tax_label: Text = "VAT"
    payment: dict[str, str] = {}
    note: str | None = None
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
            rate = self.tax_rate if item.tax_rate is None else item.tax_rate
            if rate is not None:
                bases[rate] = bases.get(rate, Decimal(0)) + self.amount(item)
        return [(rate, rounded(base * rate / 100, self.currency)) for rate, base in sorted(bases.items())]

    @cached_property
    def total(self) -> Decimal:
        return self.subtotal + sum((tax for _, tax in self.taxes), Decimal(0))
