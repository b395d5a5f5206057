"""Signals at random moments lose no job (the long run: `python -m tests.e2e.signals 200 50`)."""

from pathlib import Path

import pytest

from tests.e2e.signals import check, run

pytestmark = pytest.mark.slow


def test_no_signal_loses_a_sync_job(valkey: str, tmp_path: Path) -> None:
    tally, jobs, book = run(valkey, tmp_path, terms=6, kills=3)
    assert (tally.terms, tally.kills) == (6, 3)
    assert "all succeeded" in check(tally, jobs, book)
