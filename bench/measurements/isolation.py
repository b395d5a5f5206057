"""Goal 8: a job that dies, or takes too much memory, ends as a failed attempt; its worker goes on."""

from typing import Any

from bench.clients.endpoints import Endpoint, start_gateway
from bench.contenders.everybody import OURS_SYNC
from bench.contenders.trial import Trial
from bench.lab.lab import lab
from bench.lab.processes import until
from bench.report.result import Effort, Finding, Result

LIMIT = "256MiB"


def measure(effort: Effort) -> Result:
    result = Result()
    with lab(effort.folder / "isolation") as made:
        gateway = start_gateway(made, extended=True)
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
    with gateway.connected() as connection:
        path = f"/v1/jobs/{connection.post(f'/v1/{task}', body)['id']}"

        def job() -> dict[str, Any] | None:
            found = connection.get(path)
            return found if found[field] else None

        found = until(job, what=f"the {field} of {task}", every=0.1)
    assert found  # noqa: S101 - until gives what is true
    return found
