"""The jobs of the peers. Imported by every contender, so it imports nothing heavy."""

import asyncio
import os
from typing import Any

from bench import tally

MODEL = "gpt-5.4-mini"
MESSAGES: Any = [{"role": "user", "content": "Name three uses of a job queue."}]


def noop(sent: float) -> int:
    tally.note(sent)
    return os.getpid()


async def noop_async(sent: float) -> int:
    return noop(sent)


async def wait_async(sent: float, seconds: float) -> int:
    tally.note(sent)
    await asyncio.sleep(seconds)
    return os.getpid()
