"""Tenants share by their weights, in both pools, whatever their jobs need."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tandem.shared.runtime.redis_client import client
from tandem.shared.store.commands import cancel, erase
from tandem.shared.store.keys import Key
from tests.support.jobs import TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.claims import Work, put_all, succeeded, take
from tests.support.limits.fairness import weights
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.sync_lane import job, put, succeed
from tests.support.sync_lane import take as take_sync

WEIGHTS = {"ann": 0.5, "bob": 1, "cy": 3}
SUM = sum(WEIGHTS.values())


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def test_tenants_share_tokens_by_their_weights(clocked: Clocked) -> None:
    """What they really use is another size for each, and not what was forecast."""
    used = {"ann": 2000, "bob": 150, "cy": 600}
    clocked.call(weights(**WEIGHTS))
    for owner in WEIGHTS:
        put_all(clocked, *[Work(owner=owner, tokens=1000)] * 900)
    served = Counter[str]()
    while served.total() < 500_000:
        for lease in take(clocked, 5):
            served[lease.owner] += used[lease.owner]
            clocked.call(succeeded(lease, used[lease.owner]))
    for owner, weight in WEIGHTS.items():
        assert served[owner] / served.total() == pytest.approx(weight / SUM, rel=0.05)


def test_tenants_share_the_sync_pool_s_time_by_their_weights(clocked: Clocked) -> None:
    lasts = {"ann": 4.0, "bob": 0.5, "cy": 1.0}
    clocked.call(weights(**WEIGHTS))
    put(clocked, *[job(owner) for owner in WEIGHTS for _ in range(500)])
    time = Counter[str]()
    for _ in range(400):
        lease = take_sync(clocked)
        clocked.now += round(lasts[lease.owner] * SECOND)
        succeed(clocked, lease)
        time[lease.owner] += round(10 * lasts[lease.owner])
    for owner, weight in WEIGHTS.items():
        assert time[owner] / time.total() == pytest.approx(weight / SUM, rel=0.05)


def test_what_a_run_was_charged_comes_back_by_the_weight_that_it_was_charged_by(clocked: Clocked) -> None:
    put_all(clocked, *[Work(tokens=500, owner=owner) for owner in ("ann", "bob") for _ in range(3)])
    clocked.call(weights(ann=4))
    [lease] = [one for one in take(clocked, 2) if one.owner == "ann"]
    assert clocked.client.zscore(Key.LANE_TENANTS + "m", "ann") == 125
    clocked.call(weights(ann=2))
    clocked.call(succeeded(lease, 300))
    assert clocked.client.zscore(Key.LANE_TENANTS + "m", "ann") == 75
    assert_keyspace(clocked.client)


def test_an_erased_run_pays_by_its_weight(clocked: Clocked) -> None:
    put_all(clocked, *[Work(tokens=500, owner=owner) for owner in ("ann", "bob") for _ in range(3)])
    clocked.call(weights(ann=4))
    [lease] = [one for one in take(clocked, 2) if one.owner == "ann"]
    clocked.call(cancel(lease.id, ttl=TTL))
    assert clocked.call(erase(lease.id))
    clocked.call(succeeded(lease, 2500))
    assert clocked.client.zscore(Key.LANE_TENANTS + "m", "ann") == 625


def test_a_weight_that_is_gone_is_one(clocked: Clocked) -> None:
    clocked.call(weights(ann=4))
    put_all(clocked, *[Work(tokens=500)] * 3)
    for weight, charged in ((4, 125), (1, 500)):
        clocked.call(weights(ann=weight))
        before = clocked.client.zscore(Key.LANE_TENANTS + "m", "ann") or 0
        [lease] = take(clocked)
        assert clocked.client.zscore(Key.LANE_TENANTS + "m", "ann") == before + charged  # type: ignore[operator]
        clocked.call(succeeded(lease, 500))
