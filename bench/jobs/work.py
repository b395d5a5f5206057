"""The jobs of the peers. Imported by every contender, so it imports nothing heavy."""

import asyncio
import os
import random
from typing import Any

from bench.jobs import tally

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
WORDS = tuple(
    "a all and are as at be but by can do each for from had has have he her his how if in is it its job may more most "  # noqa: SIM905 - prose
    "no not of on one or our out queue say see she so some than that the their them then there they this time to up "
    "use was way we were what when which who will with word work would write year you".split()
)
REPORT: Any = {"template": "invoice", "title": "Invoice 2041", "data": INVOICE}


def padding(size: int) -> str:
    """Give so many bytes of text that reads like prose: the same each time, and no engine may know it."""
    chosen = random.Random(size)  # noqa: S311 - not a secret
    words = iter(lambda: chosen.choice(WORDS), None)
    text: list[str] = []
    length = 0
    while length < size:
        text.append(word := next(words))
        length += len(word) + 1
    return " ".join(text)[:size]


def messages(padding: str = "") -> Any:
    """Give a chat, with a text of one's own if there is one."""
    return [{"role": "user", "content": padding}] if padding else MESSAGES


def noop(sent: float, padding: str = "") -> int:
    del padding
    tally.note(sent)
    return os.getpid()


async def noop_async(sent: float, padding: str = "") -> int:
    del padding
    return noop(sent)


async def wait_async(sent: float, seconds: float) -> int:
    tally.note(sent)
    await asyncio.sleep(seconds)
    return os.getpid()
