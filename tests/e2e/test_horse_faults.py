"""What a job of the forking pool does to its process stays with its process."""

import re
import time
from pathlib import Path

import psutil

from tests.e2e.platform import Platform
from tests.e2e.trouble import submit


def test_nothing_that_a_job_started_outlives_it(troubled: Platform, marks: Path) -> None:
    began = time.monotonic()
    [job] = troubled.until_finished([submit(troubled, "sync", "fork", marks)])
    assert job["status"] == "succeeded"
    [next_one] = troubled.until_finished([submit(troubled, "sync", "well")])
    assert next_one["status"] == "succeeded"
    left = [int(mark.suffix[1:]) for mark in marks.glob("left.*")]
    assert len(left) == 2
    assert not any(map(psutil.pid_exists, left))
    assert not troubled.parts()["sync-worker"].children()
    assert time.monotonic() - began < 3, "nobody waited for those it left behind"


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
