"""Goal 8: a job that dies, or takes too much memory, ends as a failed attempt; its worker goes on."""

import http.client
import json
from typing import Any

from bench.contenders.everybody import OURS_SYNC
from bench.contenders.trial import Trial
from bench.lab.lab import lab
from bench.lab.processes import until
from bench.measurements.gateway import HEADERS, Endpoint
from bench.measurements.waiters import extended_gateway, submit
from bench.report.result import Effort, Finding, Result

LIMIT = "256MiB"


def measure(effort: Effort) -> Result:
    result = Result()
    with lab(effort.folder / "isolation") as made:
        gateway = extended_gateway(made)
        trial = Trial(made, OURS_SYNC, "isolation")
        (worker,) = trial.workers(1, TANDEM_SYNC_MEMORY=LIMIT)
        trial.open()
        for how in ("segfault", "memory"):
            job = _until(gateway, "sync_hurt", {"how": how}, "error")
            after = _until(gateway, "sync_noop", {}, "result")
            [attempt] = job["error"]["attempts"]
            lives = after["status"] == "succeeded" and worker.popen.poll() is None
            said = f"attempt 1: {attempt['type']}; the worker {'ran the next job' if lives else 'was gone'}"
            result.findings.append(Finding(f"8 a job's process: {how}", "a failed attempt", said, met=lives))
            effort.say(f"  {how}: {said}")
    return result


def _until(gateway: Endpoint, task: str, body: dict[str, str], field: str) -> dict[str, Any]:
    """Submit a job and wait until it has the field."""
    job_id = submit(gateway, f"/v1/{task}", json.dumps(body))

    def job() -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        connection.request("GET", f"/v1/jobs/{job_id}", headers=HEADERS)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return found if found[field] else None

    found = until(job, what=f"the {field} of {task}", every=0.1)
    assert found  # noqa: S101 - until gives what is true
    return found
