"""Handlers that misbehave hurt no other job, and workers that are told to stop lose none."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.platform import CHAT, Platform, platform
from tests.e2e.trouble import project
from tests.processes import until


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    copy = project(tmp_path_factory.mktemp("copy"))
    with platform(tmp_path_factory.mktemp("p"), cwd=copy, TANDEM_GRACE="1") as running:
        yield running


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where each run of a handler leaves a mark."""
    return tmp_path


def submit(running: Platform, pool: str, how: str, marks: Path | None = None) -> str:
    body = {"how": how, "marks": str(marks or "")}
    with running.client() as client:
        answer = client.post(f"/v1/{pool}_trouble", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def get(running: Platform, job_id: str) -> dict[str, Any]:
    with running.client() as client:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        return job


def pid(running: Platform, pool: str) -> int:
    return running.parts()["llm-worker" if pool == "async" else "sync-worker"].pid


@pytest.mark.parametrize(
    ("pool", "how", "type_", "attempts"),
    [
        ("async", "exit", "SystemExit", 2),
        ("async", "worse", "Worse", 2),
        ("async", "hang", "timeout", 2),
        ("async", "swallow", "ValueError", 2),
        ("async", "nothing", "AttributeError", 2),
        ("sync", "exit", "SystemExit", 2),
        ("sync", "hang", "timeout", 2),
        ("sync", "nothing", "AttributeError", 2),
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
    until(lambda: len(list(marks.iterdir())) == 2, patience=15, what="the second run")
    [job] = troubled.until_finished([job_id])
    assert (job["status"], job["attempt"]) == ("succeeded", 2)


def test_an_idle_worker_stops_at_once(troubled: Platform) -> None:
    for name in ("llm-worker", "sync-worker", "clock"):
        before = until(lambda name=name: troubled.parts().get(name))  # type: ignore[misc]
        assert before is not None
        before.send_signal(signal.SIGTERM)
        assert before.wait(5) in {0, None}
    assert troubled.run("chat", CHAT)["status"] == "succeeded"
