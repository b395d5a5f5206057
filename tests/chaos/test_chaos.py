"""A short fault run; the long one is `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.plan.faults import ALWAYS, ALWAYS_SHARED
from tests.chaos.plan.make import make
from tests.chaos.run import run

pytestmark = pytest.mark.slow

JOBS = 300
# Chance may leave these without an occasion: others must wait just when a job is handed back, and what always fails
# must be hit by nothing in all its attempts. Long runs have them.
RARE = ("sync: handed back", "what always fails is tried")


@pytest.mark.timeout(240)  # the load takes 30 s, what it and the faults leave a minute
def test_nothing_is_lost_or_doubled_whatever_dies(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = make(1, jobs=JOBS, rate=12, every=2.2)
    facts, rows = run(plan, tmp_path / "c", lines.append)
    judged = [row for row in rows if not row.speed]
    told = "\n".join([*lines, report.table(rows), report.wrong(judged)])
    assert not [fault for row in judged for fault in row.faults], told
    assert not [row.goal for row in judged if not row.enough and not row.goal.startswith(RARE)], told
    assert len(facts.cases) == JOBS + len(plan.rush)


def test_the_seed_gives_the_plan() -> None:
    first, again, other = (make(seed, jobs=500, rate=20, every=2) for seed in (1, 1, 2))
    assert first == again
    assert first.faults != other.faults
    assert len({job.marker for job in first.submissions}) == 500
    assert sum(job.poison for job in first.submissions) == 6
    assert {(act, role) for role, act, *_ in [*ALWAYS, *ALWAYS_SHARED]} <= first.deeds.keys()
