"""The jobs of the peers. Imported by every contender, so it imports nothing heavy."""

import asyncio
import os
from typing import Any

from bench import tally

MODEL = "gpt-5.4-mini"
MESSAGES: Any = [{"role": "user", "content": "Name three uses of a job queue."}]
ITEMS = [{"description": f"Item {number}", "quantity": number, "unit_price": 19.9} for number in range(1, 26)]
INVOICE: Any = {
    "number": "2041",
    "date": "2026-11-22",
    "currency": "EUR",
    "seller": {"name": "Acme GmbH", "address": "Hauptstr. 1\n10115 Berlin", "tax_id": "DE123456789"},
    "buyer": {"name": "Globex Ltd", "address": "5 Market Street\nLondon EC1A 1BB"},
    "items": ITEMS,
    "tax_rate": 19,
}
REPORT: Any = {"template": "invoice", "title": "Invoice 2041", "data": INVOICE}


def noop(sent: float) -> int:
    tally.note(sent)
    return os.getpid()


async def noop_async(sent: float) -> int:
    return noop(sent)


async def wait_async(sent: float, seconds: float) -> int:
    tally.note(sent)
    await asyncio.sleep(seconds)
    return os.getpid()
