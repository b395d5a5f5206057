"""Tenants as a config file names them, before real workers and a real clock."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.store.executor import Book
from tests.support.keyspace.problems import problems
from tests.support.processes import until
from tests.support.workers.llm import Pool, pool

SECONDS = 0.5
CLOCK = (sys.executable, "-m", "tandem.shared.maintenance")


@pytest.fixture
def workers(book: Book, valkey: str, tmp_path: Path) -> Iterator[Pool]:
    with pool(book, valkey, tmp_path / "w") as made:
        yield made


def most_at_once(workers: Pool, job_ids: list[str]) -> int:
    """Say how many of these jobs ran at the same time."""
    began = [moment for job_id in job_ids for moment, _ in workers.runs(job_id)]
    return max(sum(start <= other < start + 0.9 * SECONDS for other in began) for start in began)


@pytest.mark.slow
def test_a_tenant_s_concurrency_holds_over_all_workers_and_another_file_is_followed(
    workers: Pool, tmp_path: Path
) -> None:
    few, more = tmp_path / "few.toml", tmp_path / "more.toml"
    few.write_text("[tenants.ann]\nconcurrency = {llm = 2}\n")
    more.write_text("[tenants.ann]\nconcurrency = {llm = 5}\n")
    for _ in range(2):
        workers.start(TANDEM_CONFIG=str(few))
    ids = [workers.put("wait", seconds=SECONDS) for _ in range(8)]
    workers.finished(ids)
    assert most_at_once(workers, ids) == 2
    ids = [workers.put("wait", seconds=SECONDS) for _ in range(40)]  # the clock needs some seconds to start
    workers.start(*CLOCK, TANDEM_CONFIG=str(more))
    workers.finished(ids)
    assert most_at_once(workers, ids) == 5
    until(lambda: not problems(workers.book.client), what="a key space in order")
