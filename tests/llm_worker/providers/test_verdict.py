"""A real worker process against a provider that fails in every way it knows, judged by that provider."""

import json
from pathlib import Path
from typing import Any

import pytest

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Status
from tandem.shared.store import events
from tandem.shared.store.executor import AsyncBook
from tests.support.chats import WORDS, finished, submit
from tests.support.llm_attempts import SECRET
from tests.support.processes import running
from tests.support.servers.llmock import Servers

pytestmark = pytest.mark.slow

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
    # Chunk by chunk: a stream that lies whole in the socket counts as read to its end, whatever the client did.
    mock = servers("--response-style", "echo", "--stream-chunk-delay-ms", "50")
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
