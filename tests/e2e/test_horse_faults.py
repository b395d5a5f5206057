"""What a job of the forking pool does to its process stays with its process."""

import re
from pathlib import Path

import psutil
import pytest

from tests.support.platform import Platform
from tests.support.processes import until
from tests.support.workers.trouble import submit

pytestmark = pytest.mark.slow


def test_nothing_that_a_job_started_outlives_it(troubled: Platform, marks: Path) -> None:
    [job] = troubled.until_finished([submit(troubled, "sync", "fork", marks)])
    assert job["status"] == "succeeded"
    [next_one] = troubled.until_finished([submit(troubled, "sync", "well")])
    assert next_one["status"] == "succeeded"
    left = [int(mark.suffix[1:]) for mark in marks.glob("left.*")]
    assert len(left) == 2
    until(lambda: not any(map(psutil.pid_exists, left)), what="the end of what it left behind")
    [worker] = troubled.parts()["sync-worker"].children()
    until(lambda: len(worker.children()) == 1, what="one process alone, which waits for a job")


def test_a_gigabyte_of_output_fills_no_log(troubled: Platform) -> None:
    before = len(troubled.process.output)
    [job] = troubled.until_finished([submit(troubled, "sync", "print")])
    assert job["status"] == "succeeded"
    troubled.process.until_says("the last words")
    said = troubled.process.output[before:]
    assert len(said) < 512 * 1024
    printed = re.search(r"printed (\d+) bytes, of which", said)
    assert printed
    assert int(printed[1]) > 2**30


def test_a_job_over_its_memory_says_how_much_it_may_have(troubled: Platform) -> None:
    [job] = troubled.until_finished([submit(troubled, "sync", "fill")])
    assert job["error"]["message"].endswith("its limit is 256.0MiB (TANDEM_SYNC_MEMORY)")
    assert not job["error"]["retryable"]


def test_a_template_that_loops_for_ever(troubled: Platform) -> None:
    job = troubled.run("report", {"template": "endless"})
    assert (job["status"], job["error"]["type"], job["attempt"]) == ("failed", "template_error", 1)
    assert "did not come to an end" in job["error"]["message"]


def test_a_report_of_200_pages(troubled: Platform) -> None:
    pages = "".join(f"<p style='break-after: page'>Page {number}, with a few words on it." for number in range(200))
    job = troubled.run("report", {"html": pages})
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["result"]["file"]["pages"] == 200


def test_a_mail_server_that_accepts_and_hangs(troubled: Platform) -> None:
    with troubled.client() as client:
        mail = {"to": ["hang@example.com"], "subject": "Hello", "text": "Hello"}
        job_id = client.post("/v1/email", json=mail).json()["id"]
        job = until(lambda: (job := client.get(f"/v1/jobs/{job_id}").json())["error"] and job, what="a failed attempt")
    assert (job["status"], job["attempt"]) == ("scheduled", 1)
    assert (job["error"]["type"], job["error"]["retryable"]) == ("smtp_unavailable", True)


def test_a_mail_to_500_of_whom_3_are_refused(troubled: Platform) -> None:
    gone = [f"gone{number}@example.com" for number in range(3)]
    known = [f"user{number}@example.com" for number in range(497)]
    job = troubled.run("email", {"to": [*gone, *known], "subject": "Hello", "text": "Hello"})
    assert job["status"] == "succeeded"
    assert job["result"]["accepted"] == known
    assert job["result"]["rejected"] == dict.fromkeys(gone, "550 5.1.1 no such user")
