"""The platform's two pools, jobs handed over by its own dispatcher."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from bench.jobs import work
from bench.jobs.tasks.specs import LLM_NOOP, SYNC_NOOP, Sent
from bench.peers import runner
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.submission import Admission
from tandem.shared.limits.lanes import Lanes
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.catalog.llm import CHAT, ChatInput
from tandem.shared.tasks.catalog.report import REPORT, ReportInput
from tandem.shared.tasks.spec import AnySpec, Input


def worker(options: argparse.Namespace) -> None:
    """Never called: the real processes run, see `bench.jobs.extended`."""
    raise AssertionError(options)


BENCH = ApiKey("bench", Role.USER, "not used here")


def job(kind: str, value: float, padding: str = "") -> tuple[AnySpec, Input]:
    made: dict[str, tuple[AnySpec, Any]] = {
        "noop": (LLM_NOOP, Sent(sent=value, padding=padding)),
        "wait": (LLM_NOOP, Sent(seconds=value)),
        "sync": (SYNC_NOOP, Sent(sent=value, padding=padding)),
        "invoice": (REPORT, ReportInput.model_validate(work.REPORT)),
        "ask": (CHAT, ChatInput(messages=work.messages(padding))),
    }
    return made[kind]


@asynccontextmanager
async def sender() -> AsyncIterator[runner.Send]:
    book = AsyncBook(async_client(runner.redis_url()))
    admission = Admission(queue_max=10**7)
    lanes = Lanes(model=work.MODEL, embed_model="")
    dispatcher = Dispatcher(book, admission=admission, idempotency_ttl=timedelta(hours=1), lanes=lanes)

    async def send(kind: str, value: float, padding: str) -> object:
        spec, payload = job(kind, value, padding)
        return await dispatcher.enqueue(spec, payload, caller=BENCH, request_id="")

    yield send
    await book.aclose()


if __name__ == "__main__":
    runner.main(worker=worker, sender=sender)
