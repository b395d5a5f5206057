"""Redis is away for longer than a lease: what runs goes on, and nothing runs twice for it."""

import sys
import time
from pathlib import Path

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import scripts
from tandem.shared.store.executor import Book
from tests.support.processes import Process, until
from tests.support.servers.valkey import Valkey
from tests.support.workers import llm, rq

pytestmark = pytest.mark.slow
RUNS = 3 * scripts.LEASE.total_seconds()  # seconds of a job: it runs before, during and after the outage


def outage(valkey: Valkey) -> None:
    valkey.kill()
    time.sleep(1.5 * scripts.LEASE.total_seconds())
    valkey.start()


def test_an_outage_longer_than_a_lease_repeats_no_llm_job(own_valkey: Valkey, tmp_path: Path) -> None:
    with client(own_valkey.url) as connection, llm.pool(Book(connection), own_valkey.url, tmp_path / "w") as workers:
        workers.start(sys.executable, "-m", "tandem.shared.maintenance")
        for _ in range(2):
            workers.start()
        ids = [workers.put("wait", seconds=RUNS) for _ in range(10)]
        until(lambda: len(workers.runs()) == len(ids), what="all runs")
        outage(own_valkey)
        assert {(job.status, job.attempt) for job in workers.finished(ids)} == {(Status.SUCCEEDED, 1)}
        assert len(workers.runs()) == len(ids)


def test_an_outage_longer_than_a_lease_repeats_no_sync_job(own_valkey: Valkey, tmp_path: Path) -> None:
    with rq.pool(own_valkey.url, tmp_path) as toys:
        clock = Process([sys.executable, "-m", "tandem.shared.maintenance"], env=toys.env, log=tmp_path / "clock.log")
        workers = [toys.start("--name", name, "default") for name in ("w1", "w2")]
        job_id = toys.enqueue("slow", RUNS, str(tmp_path))
        until(lambda: toys.marks("ran"), what="the run")
        outage(own_valkey)
        job = toys.ended(job_id)
        assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
        assert len(toys.marks("ran")) == 1
        for process in (*workers, clock):
            process.stop()
