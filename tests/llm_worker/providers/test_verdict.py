"""A real worker process against a provider that fails in every way it knows, judged by that provider."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Job, Status
from tandem.shared.jobs.submission import Options
from tandem.shared.store import commands, events
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import load
from tests.llm_worker.conftest import Servers
from tests.support.jobs import PLENTY
from tests.support.processes import running
from tests.support.providers import SECRET

CHAT = load()["chat"]
ANN = ApiKey("ann", Role.USER, "a-key-0123456789")
WORDS = "words enough for a stream of a dozen pieces, so that it can break in its midst"

TRANSIENT: list[dict[str, Any]] = [
    {"type": "fail", "status": 500},
    {"type": "fail", "status": 503},
    {"type": "fail", "status": 408},
    {"type": "fail", "status": 529},
    {"type": "fail", "status": 503, "retry_after": 1.5},
    {"type": "fail", "status": 429, "retry_after": 1.5},
    {"type": "fail", "status": 429},
    *({"type": "stream_fault", "kind": kind, "after_chunks": n} for kind in ("disconnect", "truncate") for n in (0, 3)),
    {"type": "stream_fault", "kind": "malformed", "after_chunks": 4},
    {"type": "stream_fault", "kind": "stall", "after_chunks": 5, "stall_seconds": 20},
]
FINAL = [{"type": "fail", "status": status} for status in (400, 404, 422)]
FAULTS = TRANSIENT + FINAL
CONFIG = """
[providers.stand-in]
base_url = "{url}"
api_key_env = "STAND_IN_KEY"
stall_timeout = "2s"
"""


async def submit(book: AsyncBook, count: int) -> list[str]:
    dispatcher = Dispatcher(book, admission=PLENTY, idempotency_ttl=timedelta(hours=1))
    prompts = [
        CHAT.input.model_validate({"messages": [{"role": "user", "content": f"{n} {WORDS}"}]}) for n in range(count)
    ]
    stream = Options(stream=True)
    return [
        (await dispatcher.submit(CHAT, prompt, caller=ANN, request_id="r", options=stream)).id for prompt in prompts
    ]


async def finished(book: AsyncBook, ids: list[str]) -> list[Job]:
    async with asyncio.timeout(60):
        while True:
            jobs = [job for id_ in ids if (job := await book.run(commands.fetch(id_)))]
            if all(job.finished for job in jobs):
                return jobs
            await asyncio.sleep(0.05)


async def streamed(book: AsyncBook, job_id: str) -> str:
    """The text that a reader has in the end."""
    text = ""
    for event in await book.run(events.read(job_id, after=0)):
        if event.kind is Kind.ATTEMPT:
            text = ""
        elif event.kind is Kind.DELTA:
            text += json.loads(event.data)["text"]
    return text


async def test_the_provider_has_no_complaint(
    servers: Servers, async_book: AsyncBook, valkey: str, tmp_path: Path
) -> None:
    mock = servers("--response-style", "echo")
    mock.script(*FAULTS)
    (tmp_path / "tandem.toml").write_text(CONFIG.format(url=mock.url))
    env = {"REDIS_URL": valkey, "TANDEM_CONFIG": str(tmp_path / "tandem.toml"), "STAND_IN_KEY": SECRET}
    ids = await submit(async_book, len(FAULTS) + 6)
    with running("tandem.llm_worker", env=env, log=tmp_path / "log", says="ready") as worker:
        jobs = await finished(async_book, ids)
    verdict = mock.verdict
    assert verdict["findings"] == []
    assert (verdict["calls"], verdict["faults_injected"]) == (len(ids), len(FAULTS))
    assert verdict["attempts"] == len(ids) + len(TRANSIENT)
    failed = sorted(job.error["type"] for job in jobs if job.error and job.status is Status.FAILED)
    assert failed == ["bad_request", "bad_request", "unknown_model"]
    for job in jobs:
        if job.status is Status.SUCCEEDED:
            assert (job.provider, job.result["text"]) == ("stand-in", await streamed(async_book, job.id))
            assert WORDS in job.result["text"]
    assert SECRET not in worker.output
    assert WORDS not in worker.output
