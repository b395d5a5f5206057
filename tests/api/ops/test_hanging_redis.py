"""Redis hangs: it takes what it is asked and says nothing. Callers hear of it soon; short hangs cost them nothing."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable

import httpx
import pytest
from pydantic import SecretStr

from tandem.api.app import PATIENCE, create_app
from tandem.api.ops.health import READY_WITHIN
from tandem.shared.config.settings import Settings
from tandem.shared.runtime.redis_client import TIMEOUT
from tests.support.gateway import CHAT, Gateway, is_problem, started
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow
KEY = {"Idempotency-Key": "the order's"}
SLACK = 2.0  # seconds, on a busy machine


@pytest.fixture
async def hanging(own_valkey: Valkey, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway whose Redis may be stopped."""
    changed = settings.model_copy(update={"redis_url": SecretStr(own_valkey.url), "metrics_public": True})
    async with started(create_app(changed), changed) as gateway:
        for client in (gateway.ann, gateway.nobody):
            client.timeout = httpx.Timeout(60)
        yield gateway
        own_valkey.process.send_signal(signal.SIGCONT)


async def timed(asking: Awaitable[httpx.Response]) -> float:
    """Give the seconds until the answer, which is 503."""
    began = time.monotonic()
    problem = is_problem(answer := await asking, 503)
    assert problem["detail"] == "the job store does not take requests now"
    assert int(answer.headers["retry-after"]) > 0
    return time.monotonic() - began


async def test_nobody_waits_for_long_and_a_repeat_with_its_key_is_one_job(hanging: Gateway, own_valkey: Valkey) -> None:
    job_id = await hanging.submit()
    own_valkey.process.send_signal(signal.SIGSTOP)
    ready, *others = await asyncio.gather(
        timed(hanging.nobody.get("/readyz")),
        timed(hanging.ann.post("/v1/chat", json=CHAT, headers=KEY)),
        timed(hanging.ann.get("/v1/jobs")),
        timed(hanging.ann.get(f"/v1/jobs/{job_id}?wait=60")),
        timed(hanging.ann.post(f"/v1/jobs/{job_id}/cancel")),
        timed(hanging.nobody.get("/metrics")),
    )
    assert ready < READY_WITHIN + SLACK
    assert max(others) < PATIENCE + SLACK
    own_valkey.process.send_signal(signal.SIGCONT)
    assert (await hanging.nobody.get("/readyz")).status_code == 200
    again = await hanging.ann.post("/v1/chat", json=CHAT, headers=KEY)
    assert again.status_code in {200, 202}, "the first may have been stored, or not"
    listed = [job["id"] for job in (await hanging.ann.get("/v1/jobs")).json()["jobs"]]
    assert sorted(listed) == sorted([job_id, again.json()["id"]])


async def test_a_hang_that_outlasts_one_try_is_ridden_over(hanging: Gateway, own_valkey: Valkey) -> None:
    own_valkey.process.send_signal(signal.SIGSTOP)
    asyncio.get_running_loop().call_later(TIMEOUT + 1, own_valkey.process.send_signal, signal.SIGCONT)
    answer = await hanging.ann.post("/v1/chat", json=CHAT)
    assert answer.status_code == 202, answer.text
    assert len((await hanging.ann.get("/v1/jobs")).json()["jobs"]) == 1
