"""A short fault run; the long one is `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.plan.faults import ALWAYS, ALWAYS_SHARED
from tests.chaos.plan.make import make
from tests.chaos.run import run

pytestmark = pytest.mark.slow

JOBS = 300


@pytest.mark.timeout(240)  # the load and ten faults take 25 s, what they hit has to recover
def test_nothing_is_lost_or_doubled_whatever_dies(tmp_path: Path) -> None:
    lines: list[str] = []
    facts, rows = run(make(1, jobs=JOBS, rate=12, every=2.2), tmp_path / "c", lines.append)
    judged = [row for row in rows if not row.speed]
    assert not report.wrong(judged), "\n".join([*lines, report.table(rows), report.wrong(judged)])
    assert len(facts.cases) == JOBS


def test_the_seed_gives_the_plan() -> None:
    first, again, other = (make(seed, jobs=500, rate=20, every=2) for seed in (1, 1, 2))
    assert first == again
    assert first.faults != other.faults
    assert len({job.marker for job in first.submissions}) == 500
    assert sum(job.poison for job in first.submissions) == 6
    assert {(act, role) for role, act, *_ in [*ALWAYS, *ALWAYS_SHARED]} <= first.deeds.keys()
