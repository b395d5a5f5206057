"""The plan of a long run gives each row what it needs."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.judge.recovery import CAUSES
from tests.chaos.outside.provider import PARKED
from tests.chaos.plan.faults import ALWAYS
from tests.chaos.plan.make import ISOLATED, make
from tests.chaos.plan.model import GREYLISTS, LEAVES_LATE, SIZES, SLOTS, SLOW, Act, Plan, Role

SPARE = 1.25  # of the hits, some tell nothing
LEASE = 6.0


@pytest.fixture(params=[1, 2, 3, 4], scope="module")
def plan(request: pytest.FixtureRequest) -> Plan:
    return make(request.param, jobs=20_000, rate=45, every=3)


def test_sync_workers_are_hit_as_often_as_their_rows_need_samples(plan: Plan) -> None:
    hits = Counter(
        (fault.act.value, fault.role.value)
        for fault in plan.faults
        if fault.act is not Act.STOP or fault.seconds > LEASE
    )
    for pool, act, role, _, least in CAUSES:
        if pool == "sync":
            assert hits[act, role] >= SPARE * least, f"{role} {act}: {hits[act, role]} hits for {least} samples"


def test_the_isolation_server_gets_suspects_that_last(plan: Plan) -> None:
    faults = [fault for fault in plan.faults if fault.role is Role.ISOLATION]
    assert len(faults) >= 8
    for fault in faults:
        near = [job for job in plan.submissions if fault.at - ISOLATED - 1.5 < job.at < fault.at - ISOLATED]
        [last] = [job.at for job in near if job.poison and job.task == "async_trouble" and job.query]
        assert sum(job.at < last and _slow(job.body) for job in near) >= 8


def test_a_stopped_sync_worker_has_work_for_longer_than_a_lease(plan: Plan) -> None:
    stops = [fault.at for fault in plan.faults if fault.role is Role.SYNC and fault.seconds > LEASE]
    long = [job.at for job in plan.submissions if job.task == "journal" and job.body["seconds"] >= SLOW]
    assert all(any(stop - 1.5 < at < stop for at in long) for stop in stops)


def test_faults_of_a_pool_come_evenly(plan: Plan) -> None:
    """Else one hits the next process while the last one still starts."""
    at = [fault.at for fault in plan.faults if SLOTS.get(fault.role, fault.role) is Role.SYNC and not fault.at_once]
    gaps = [later - sooner for sooner, later in pairwise(at)]
    assert min(gaps) > 2.0


def test_each_pool_loses_all_its_processes_at_once_in_a_long_run(plan: Plan) -> None:
    for role in (Role.LLM, Role.SYNC):
        together = [fault for fault in plan.faults if fault.at_once and fault.role is role]
        assert {fault.which for fault in together} == set(range(SIZES[role]))
        assert len({fault.at for fault in together}) == 1


def test_a_mail_is_being_sent_when_the_process_of_one_is_killed(plan: Plan) -> None:
    kills = [fault.at for fault in plan.faults if fault.role is Role.SENDER]
    late = [job.at for job in plan.submissions if job.body.get("to") == [LEAVES_LATE]]
    assert len(kills) >= 3
    assert all(any(kill - 1.5 < at < kill for at in late) for kill in kills)


def test_each_wish_comes_once_more_when_the_faults_are_over() -> None:
    plan = make(1, jobs=300, rate=12, every=2.2)
    over = max(fault.at + fault.seconds for fault in plan.faults)
    calm = [job for job in plan.submissions if job.at > over]
    kinds = {
        "run_at": [job for job in calm if "run_at" in job.query and "webhook_url" in job.query],
        "delay": [job for job in calm if "delay" in job.query and "webhook_url" in job.query],
        "cancelled at work": [job for job in calm if job.begun and job.task == "chat"],
        "cancelled sync work": [job for job in calm if job.begun and job.task == "journal"],
        "cancelled while it waits": [job for job in calm if job.cancel and not job.begun],
        "hopeless": [job for job in calm if job.fails],
        "greylisted": [job for job in calm if job.body.get("to") == [GREYLISTS]],
    }
    assert {kind: len(found) for kind, found in kinds.items() if len(found) < 2} == {}


def test_a_plan_without_faults_has_all_wishes_and_nothing_that_hits() -> None:
    plan = make(1, jobs=160, rate=20, every=0)
    assert (plan.faults, plan.schedules, plan.rush) == ([], (), ())
    assert not any(job.poison for job in plan.submissions)
    assert [job.at for job in plan.submissions] == sorted(job.at for job in plan.submissions)
    assert len({job.marker for job in plan.submissions}) == 160
    assert sum(job.begun and job.task == "journal" for job in plan.submissions) >= 4, "cancelled at work"
    assert sum("first limited" in str(job.body) for job in plan.submissions) >= 4


def test_a_plan_that_hits_processes_only_leaves_what_they_share_alone() -> None:
    shared = {Role.REDIS, Role.NETWORK, Role.DISK}
    plan = make(1, jobs=300, rate=12, every=2.2, shared=False)
    assert not shared & {fault.role for fault in plan.faults}
    assert {(fault.role, fault.act) for fault in plan.faults} >= {(role, act) for role, act, *_ in ALWAYS}
    assert plan.schedules
    assert plan.rush
    assert any(job.poison for job in plan.submissions)


@pytest.mark.parametrize("jobs", [300, 20_000])
def test_each_wish_is_there_however_short_the_run(jobs: int) -> None:
    plan = make(1, jobs=jobs, rate=12 if jobs == 300 else 45, every=3)
    least = 2 if jobs == 300 else 20
    of_others = [job for job in plan.submissions if job.owner == "bob" and job.key]
    keys = {job.marker for job in plan.submissions}
    assert all(job.key in keys for job in of_others)
    kinds = {
        "run_at": [job for job in plan.submissions if "run_at" in job.query],
        "delay": [job for job in plan.submissions if "delay" in job.query],
        "another's key": of_others,
        "late": [job for job in plan.submissions if job.late],
        "cancelled at work": [job for job in plan.submissions if job.begun and job.task == "journal"],
        "hopeless": [job for job in plan.submissions if job.fails],
        "429 first": [job for job in plan.submissions if "first limited" in str(job.body)],
        "greylisted": [job for job in plan.submissions if job.body.get("to") == [GREYLISTS]],
        "500 first": [job for job in plan.submissions if "first error" in str(job.body)],
    }
    assert {kind: len(found) for kind, found in kinds.items() if len(found) < least} == {}
    assert all(job.at < plan.seconds / 5 for job in kinds["late"]), "old when they are repeated"


def test_others_come_for_models_that_answer_429(plan: Plan) -> None:
    crowds = 0
    for first in [job for job in plan.submissions if "first limited" in str(job.body)]:
        others = [job for job in plan.submissions if job.body.get("model") == first.body["model"] and job is not first]
        assert all(first.at < job.at < first.at + PARKED for job in others)
        crowds += len(others) >= 2
    assert crowds >= 10


def _slow(body: dict[str, object]) -> bool:
    return "slow" in str(body)
