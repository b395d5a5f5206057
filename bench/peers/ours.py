"""The platform's two pools, jobs handed over through its own door."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.peers import runner
from bench.tasks.specs import LLM_NOOP, SYNC_NOOP, Sent
from bench.work import MESSAGES
from shared.book import AsyncBook
from shared.catalog.llm import CHAT, ChatInput
from shared.dispatch import Dispatcher
from shared.redis import async_client
from shared.spec import AnySpec, Input


def worker(options: argparse.Namespace) -> None:
    """Never called: the real processes run, see `bench.extended`."""
    raise AssertionError(options)


def job(kind: str, value: float) -> tuple[AnySpec, Input]:
    made: dict[str, tuple[AnySpec, Any]] = {
        "noop": (LLM_NOOP, Sent(sent=value)),
        "wait": (LLM_NOOP, Sent(seconds=value)),
        "sync": (SYNC_NOOP, Sent(sent=value)),
        "ask": (CHAT, ChatInput(messages=MESSAGES)),
    }
    return made[kind]


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    book = AsyncBook(async_client(runner.redis_url()))
    dispatcher = Dispatcher(book, queue_max=10**7)

    async def send(kind: str, value: float) -> object:
        spec, payload = job(kind, value)
        return await dispatcher.submit(spec, payload, owner="bench", request_id="")

    yield send
    await book.aclose()


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
