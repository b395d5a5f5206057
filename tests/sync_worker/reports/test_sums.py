"""Sums of an invoice: rounded as its currency is."""

from decimal import Decimal

import pytest

from tandem.shared.tasks.catalog.report import INVOICE
from tandem.sync_worker.reports.invoice import Invoice
from tandem.sync_worker.reports.money import MINUS, money

ITEMS = [
    {"description": "Tea", "unit_price": "105", "tax_rate": 10},
    {"description": "Cups", "unit_price": "105", "tax_rate": 30},
]


@pytest.mark.parametrize(("currency", "total"), [("JPY", "253"), ("EUR", "252.0"), ("KWD", "252.0")])
def test_each_tax_is_rounded_to_what_the_currency_has(currency: str, total: str) -> None:
    assert Invoice.read({**INVOICE, "currency": currency, "items": ITEMS}).total == Decimal(total)


def test_an_amount_keeps_every_digit() -> None:
    assert money(Decimal("-1" + "0" * 30 + ".125"), "EUR") == f"{MINUS}€1{',000' * 10}.13"
