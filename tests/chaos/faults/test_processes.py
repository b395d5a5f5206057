"""Faults of real processes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.jobs.submission import Options
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.sync_worker.engine.memory import children
from tests.chaos.faults.chronicle import Chronicle
from tests.chaos.faults.disk import Disk
from tests.chaos.faults.network import Network
from tests.chaos.faults.processes import Faults
from tests.chaos.faults.wrong_time import WrongTime
from tests.chaos.plan.model import Act, Fault, Plan, Role, Submission
from tests.chaos.platform import READY, START, Platform, Slot
from tests.support.jobs import PLENTY
from tests.support.processes import until
from tests.support.servers.valkey import Valkey
from tests.support.tasks import WITH_TASKS
from tests.support.tasks.specs import JOURNAL, JournalInput

pytestmark = pytest.mark.slow

MARKER = "job-1-1."
SECONDS = 12.0  # of the job: longer than the worker is suspended, and than a lease
STOPPED = 8.0


@pytest.fixture
def platform(own_valkey: Valkey, tmp_path: Path) -> Iterator[Platform]:
    """One sync worker, and what it needs."""
    (tmp_path / "disk").mkdir()
    network = Network(tmp_path, own_valkey.folder / "valkey.sock")
    storage, clock = Disk(tmp_path / "disk"), WrongTime(tmp_path / "wrong-time")
    made = Platform(tmp_path, own_valkey, clock, network, storage, "", {}, [])
    made.env = {**WITH_TASKS, "REDIS_URL": network.url, "RUN_DIR": str(tmp_path / "run"), "JOURNAL": str(made.journal)}
    made.slots.append(Slot(Role.SYNC, 0, *made._process(Role.SYNC, 0)))
    made.slots[0].process.until_says(READY[Role.SYNC], patience=START)
    yield made
    made.stop()
    network.close()
    storage.close()


def put(url: str, *, marker: str = MARKER, seconds: float = SECONDS) -> str:
    payload = JournalInput(marker=marker, seconds=seconds)
    job = submission(JOURNAL, payload, owner="ann", request_id="r", options=Options())
    with client(url) as connection:
        Book(connection).run(store_job(job, PLENTY))
    return job.id


def at(journal: Path, marker: str) -> int:
    """Say in which process a job began; 0 if it has not."""
    entries = map(json.loads, journal.read_text().splitlines() if journal.exists() else [])
    return next((int(entry["pid"]) for entry in entries if entry.get("marker") == marker), 0)


def test_a_jobs_process_is_told_from_those_that_wait(platform: Platform) -> None:
    slot = platform.slots[0]
    assert slot.horse is None
    for marker, seconds in [("job-1-2.", 0.0), ("job-1-3.", 0.0), ("job-1-4.", 3.0)]:
        put(platform.network.url, marker=marker, seconds=seconds)
    until(lambda: at(platform.journal, "job-1-4."), what="the last one's beginning")
    horse = at(platform.journal, "job-1-4.")
    until(lambda: len(children(slot.pid or 0)) > 1, what="one that waits")
    assert slot.horse == horse
    assert slot.job_age() < slot.job_age() < SECONDS
    until(lambda: slot.horse is None, what="its end")


def has_successor(platform: Platform, first: str) -> bool:
    return platform.slots[0].name != first and platform.slots[0].works


async def suspended(faults: Faults, platform: Platform) -> None:
    """Suspend the worker at its job, and go on until one works in its place."""
    keeps = asyncio.create_task(faults.keep())
    first = platform.slots[0].name
    try:
        await asyncio.to_thread(until, platform.journal.exists, what="the job's beginning")
        await faults.run()
        await asyncio.to_thread(until, lambda: has_successor(platform, first), patience=START, what="the successor")
    finally:
        keeps.cancel()
        with suppress(asyncio.CancelledError):
            await keeps


def test_a_suspended_worker_that_its_supervisor_ends_is_one_deed(platform: Platform) -> None:
    """It is over when the successor works; and the successor is not taken for the one that was suspended."""
    job = put(platform.network.url)
    body = {"marker": MARKER, "seconds": SECONDS}
    plan = Plan(1, [Submission(0.0, MARKER, "journal", body, {})], [Fault(0.0, Role.SYNC, 0, Act.STOP, STOPPED)])
    chronicle, first = Chronicle(), platform.slots[0].name
    asyncio.run(suspended(Faults(plan, platform, chronicle), platform))
    [deed] = chronicle.deeds
    assert (deed.kind, deed.role, deed.target, deed.jobs) == ("SIGSTOP", "sync worker", first, {job})
    assert deed.ended is not None
    assert deed.ended == pytest.approx(platform.slots[0].ready, abs=1.0)
