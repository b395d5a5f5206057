"""Handlers that misbehave hurt no other job, and workers that are told to stop lose none."""

import signal
from pathlib import Path

import pytest

from tests.support.platform import CHAT, Platform
from tests.support.processes import until
from tests.support.workers.trouble import submit

pytestmark = pytest.mark.slow


def pid(running: Platform, pool: str) -> int:
    return running.parts()["llm-worker" if pool == "async" else "sync-worker"].pid


@pytest.mark.parametrize(
    ("pool", "how", "type_", "attempts"),
    [
        ("async", "exit", "SystemExit", 2),
        ("async", "worse", "Worse", 2),
        ("async", "hang", "timeout", 2),
        ("async", "swallow", "ValueError", 2),
        ("async", "nothing", "invalid_result", 1),
        ("sync", "exit", "SystemExit", 2),
        ("sync", "hang", "timeout", 2),
        ("sync", "nothing", "invalid_result", 1),
        ("sync", "other", "invalid_result", 1),
        ("sync", "object", "invalid_result", 1),
        ("sync", "bytes", "invalid_result", 1),
        ("sync", "fill", "memory_limit", 1),
        ("sync", "gulp", "memory_limit", 1),
        ("sync", "brood", "memory_limit", 1),
        ("sync", "segfault", "crash_loop", 3),
        ("sync", "vanish", "crash_loop", 3),
    ],
)
def test_trouble_is_a_failed_job_and_the_worker_lives(
    troubled: Platform, pool: str, how: str, type_: str, attempts: int
) -> None:
    before = pid(troubled, pool)
    innocent = [submit(troubled, pool, "well") for _ in range(3)]
    job_id = submit(troubled, pool, how)
    innocent += [submit(troubled, pool, "well") for _ in range(3)]
    [job] = troubled.until_finished([job_id])
    assert job["status"] == "failed"
    assert job["error"]["type"] == type_
    assert job["attempt"] == attempts
    assert len(job["error"]["attempts"]) == attempts
    done = troubled.until_finished(innocent)
    assert [(item["status"], item["attempt"]) for item in done] == [("succeeded", 1)] * 6
    assert pid(troubled, pool) == before


@pytest.mark.parametrize("pool", ["async", "sync"])
def test_a_worker_told_to_stop_hands_back_what_does_not_end_in_time(troubled: Platform, pool: str, marks: Path) -> None:
    before = pid(troubled, pool)
    job_id = submit(troubled, pool, "slow", marks)
    until(lambda: list(marks.iterdir()), what="the first run")
    troubled.parts()["llm-worker" if pool == "async" else "sync-worker"].send_signal(signal.SIGTERM)
    [job] = troubled.until_finished([job_id])
    assert (job["status"], job["attempt"], job["error"]) == ("succeeded", 1, None)
    assert len(list(marks.iterdir())) == 2, "it ran again, in another process"
    assert pid(troubled, pool) != before


@pytest.mark.parametrize("pool", ["async", "sync"])
def test_the_jobs_of_a_killed_worker_start_again_elsewhere(troubled: Platform, pool: str, marks: Path) -> None:
    job_id = submit(troubled, pool, "slow", marks)
    until(lambda: list(marks.iterdir()), what="the first run")
    troubled.parts()["llm-worker" if pool == "async" else "sync-worker"].kill()
    until(lambda: len(list(marks.iterdir())) == 2, what="the second run")
    [job] = troubled.until_finished([job_id])
    assert (job["status"], job["attempt"]) == ("succeeded", 2)


def test_an_idle_worker_stops_at_once(troubled: Platform) -> None:
    for name in ("llm-worker", "sync-worker", "clock"):
        before = until(lambda name=name: troubled.parts().get(name))  # type: ignore[misc]
        assert before is not None
        before.send_signal(signal.SIGTERM)
        assert before.wait(30) in {0, None}
    assert troubled.run("chat", CHAT)["status"] == "succeeded"
