"""Keys of one tenant, task or lane that are of a wrong type: claims go on for all, and what it lost comes back."""

from collections.abc import Iterator

import pytest

from tandem.shared.runtime.redis_client import client
from tandem.shared.store.keys import Key
from tandem.shared.store.maintenance import recount_running, recover_lost
from tests.support.jobs import TTL
from tests.support.keyspace.problems import assert_keyspace
from tests.support.limits.fairness import told
from tests.support.limits.limiter_script import SECOND, Clocked
from tests.support.limits.tasks import CAPPED, OTHER, POOLS, claim, end, make, put

LANE = {"llm": "m", "sync": "~sync"}
SPOILT = {
    "running of a tenant": Key.RUNNING_OF + "{queue}:ann",
    "running of a task": Key.RUNNING_OF + "task:{task}",
    "aside for a tenant": Key.ASIDE_FOR + "{queue}:ann",
    "aside for a task": Key.ASIDE_FOR + "task:{task}",
    "jobs": Key.LANE_JOBS + "normal:ann:{lane}",
    "jobs that were handed back": Key.LANE_JOBS + "front:ann:{lane}",
    "jobs of a task": Key.LANE_JOBS + "normal:ann:~task {task} {lane}",
    "turns": Key.LANE_TURNS + "{lane}",
    "turns of a task": Key.LANE_TURNS + "~task {task} {lane}",
    "tenants": Key.LANE_TENANTS + "{lane}",
    "tenants of a task": Key.LANE_TENANTS + "~task {task} {lane}",
}


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


@POOLS
@pytest.mark.parametrize("moment", ["before any runs", "while some wait for room"])
@pytest.mark.parametrize("key", SPOILT)
def test_a_key_of_a_wrong_type_stops_no_claim(clocked: Clocked, queue: str, key: str, moment: str) -> None:
    capped, other = CAPPED[queue], OTHER[queue]
    clocked.call(told({"ann": {"concurrency": {queue: 4}}}, {capped: {"concurrency": 2}}))
    put(clocked, [make(queue, task, "ann", apart=task == capped) for task in (capped, other) for _ in range(5)])
    put(clocked, [make(queue, other, "bob") for _ in range(5)])
    held = claim(clocked, queue, 8) if moment.startswith("while") else []
    clocked.client.set(SPOILT[key].format(queue=queue, task=capped, lane=LANE[queue]), "spoilt")
    ended = 0
    for _ in range(30):
        held += claim(clocked, queue, 3)
        for lease in held:
            end(clocked, lease)
        ended, held = ended + len(held), []
        clocked.now += SECOND
        clocked.call(recover_lost(ttl=TTL, looks=50))
        clocked.call(recount_running())
    assert ended == 15
    assert_keyspace(clocked.client)
