"""Streamed chats in the job book, for a real worker to answer."""

import asyncio
from datetime import timedelta
from typing import Any

from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.model import Job
from tandem.shared.jobs.submission import Options
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import load
from tests.support.jobs import PLENTY

CHAT = load()["chat"]
ANN = ApiKey("ann", Role.USER, "a-key-0123456789")
WORDS = "words enough for a stream of a dozen pieces, so that it can break in its midst"


async def submit(book: AsyncBook, count: int, **options: Any) -> list[str]:
    dispatcher = Dispatcher(book, admission=PLENTY, idempotency_ttl=timedelta(hours=1))
    prompts = [
        CHAT.input.model_validate({"messages": [{"role": "user", "content": f"{n} {WORDS}"}]}) for n in range(count)
    ]
    stream = Options(stream=True, **options)
    return [
        (await dispatcher.enqueue(CHAT, prompt, caller=ANN, request_id="r", options=stream)).id for prompt in prompts
    ]


async def finished(book: AsyncBook, ids: list[str]) -> list[Job]:
    async with asyncio.timeout(60):
        while True:
            jobs = [job for id_ in ids if (job := await book.run(commands.fetch(id_)))]
            if all(job.finished for job in jobs):
                return jobs
            await asyncio.sleep(0.05)
