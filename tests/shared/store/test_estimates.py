"""The estimate of a submission's start: by the limits and the place in the lane, against what then happens."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tandem.shared.jobs.model import at
from tandem.shared.limits.model import Limits
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import LimitKey
from tandem.shared.store.limits.explanation import explain
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import get
from tests.support.limits.claims import Work, models, store
from tests.support.limits.limiter_script import SECOND, START, Clocked
from tests.support.limits.traffic import Traffic


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


@pytest.mark.parametrize("who", ["ann", "bob"])
@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.IDLE])
@pytest.mark.parametrize(
    "limits",
    [Limits(rpm=120), Limits(tpm=24_000), Limits(concurrency=4), Limits(rpm=240, tpm=24_000, concurrency=50)],
    ids=["requests", "tokens", "slots", "all"],
)
def test_what_is_told_at_submit_is_when_it_starts(
    clocked: Clocked, limits: Limits, priority: Priority, who: str
) -> None:
    """A hundred jobs of all sizes wait already, of `ann`."""
    limited = models(limits)
    clocked.client.set(LimitKey.LIMIT_MODELS, json.dumps(limited))
    traffic, draw = Traffic(clocked, limited, seed=1), random.Random(5)  # noqa: S311

    def work(owner: str, priority: Priority) -> Work:
        size = draw.randint(50, 350)
        return Work(owner=owner, priority=priority, tokens=2 * size, used=size)

    traffic.put(*[work("ann", Priority.NORMAL) for _ in range(100)])
    told: dict[str, float] = {}

    def come() -> None:
        for _ in range(8):
            [job_id] = traffic.put(work(who, priority))
            estimate = get(Book(clocked.client), job_id).estimated_start
            assert estimate is not None
            told[job_id] = estimate.timestamp() - clocked.now / SECOND

    traffic.at(START + 10 * SECOND, come)
    traffic.run(seconds=400, took=lambda r: r.uniform(1.0, 3.0))
    began = {one.job: (one.at - START) / SECOND - 10 for one in traffic.started}
    pairs = [(round(told[job_id], 1), round(began[job_id], 1)) for job_id in told]
    wrong = [(said, true) for said, true in pairs if not true / 1.5 - 1 <= said <= true * 1.5 + 1]
    assert not wrong, pairs


@pytest.mark.parametrize(
    "spoilt",
    [
        {"known": {"m": {}}, "levels": [], "provider": "p"},
        {"known": {"m": {"scopes": [], "after": 0}}, "levels": [], "provider": "p"},
        {"known": {}, "levels": [{"name": "p", "tpm": "x"}]},
        {"known": [], "levels": {}},
    ],
)
def test_a_submission_is_stored_whatever_is_said_of_models(clocked: Clocked, spoilt: dict[str, Any]) -> None:
    clocked.call(leases.renew("llm", [], worker="w"))
    clocked.client.set(LimitKey.LIMIT_MODELS, json.dumps(spoilt))
    job = Work().job()
    stored = clocked.call(store([job])[0])
    assert (stored.created_at, stored.estimated_start) == (at(START // 1000), None)
    assert clocked.call(explain(job.id)).because == "fair_order"


def test_a_limit_that_was_idle_for_a_while_is_no_wait(clocked: Clocked) -> None:
    """Others had all of it for two minutes, and then nobody came for half a minute."""
    limited = models(Limits(rpm=60))
    clocked.client.set(LimitKey.LIMIT_MODELS, json.dumps(limited))
    traffic = Traffic(clocked, limited, seed=1)
    traffic.put(*[Work()] * 120)
    traffic.run(seconds=150, took=lambda _: 0.1)
    clocked.call(leases.renew("llm", [], worker="w"))
    [job_id] = traffic.put(Work(priority=Priority.IDLE))
    estimate = get(Book(clocked.client), job_id).estimated_start
    assert estimate is not None
    assert estimate.timestamp() - clocked.now / SECOND < 1
