"""Goal 5: requests to Redis for one LLM job and for one submission, counted at the clients."""

import json
import time

from bench.clients.endpoints import BODY, start_gateway
from bench.contenders.contender import Contender
from bench.contenders.everybody import ARQ, OURS_LLM
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import until
from bench.lab.redis_proxy import Counted, counting
from bench.provider import process as provider
from bench.report.result import Effort, Finding, Result

JOBS, AT_ONCE, DELAY = 600, 50, 0.5
PER_JOB, PER_SUBMIT = 4, 1


def measure(effort: Effort) -> Result:
    result = Result()
    with lab(effort.folder / "trips") as made:
        jobs = effort.size(JOBS, least=2 * AT_ONCE)
        ours = _of_a_job(made, OURS_LLM, jobs)
        theirs = _of_a_job(made, ARQ, jobs)
        submits = _of_a_submission(made, effort.size(200, least=20))
    per_job, arq = ours.total / jobs, theirs.total / jobs
    goal = f"5 requests to Redis per LLM job, {AT_ONCE} at once"
    peer = f"arq {arq:.1f}"
    ratio, met = f"{arq / per_job:.1f}×", per_job <= PER_JOB
    row = Finding(goal, f"≤ {PER_JOB}", f"{per_job:.2f}", peer, ratio, met, headline=goal[2:])
    result.findings.append(row)
    goal = "5 requests to Redis per submission"
    result.findings.append(Finding(goal, f"{PER_SUBMIT}", f"{submits:.2f}", met=submits <= PER_SUBMIT))
    result.data = {
        "jobs": jobs,
        "ours": dict(ours.commands),
        "arq": dict(theirs.commands),
        "trips": {"ours": ours.trips, "arq": theirs.trips},
        "per_submission": submits,
    }
    for finding in result.findings:
        effort.say(f"  {finding.goal}: {finding.measured} {finding.peer}")
    return result


def _of_a_job(made: Lab, contender: Contender, jobs: int) -> Counted:
    """Count all that a worker sends from its start to its last job's end."""
    made.flush()
    stub = provider.start(made, delay=DELAY, name=f"{contender.name}-trips")
    trial = Trial(made, contender, f"{contender.name}-trips")
    trial.run("fill", jobs=jobs, kind="ask")
    with counting(made.redis_url) as counted:
        env = stub.env | {"REDIS_URL": counted.url, "TANDEM_LLM_CONCURRENCY": str(AT_ONCE)}
        (worker,) = Trial(made, _at_once(contender), trial.number).workers(1, kind="ask", **env)
        trial.open()
        until(lambda: stub.count() >= jobs, what=f"{jobs} calls", patience=120)
        _until_quiet(counted)
        worker.end()
    stub.process.end()
    return counted


def _at_once(contender: Contender) -> Contender:
    return Contender(**{**vars(contender), "concurrency": AT_ONCE})


def _until_quiet(counted: Counted, *, most: int = 30) -> None:
    """Wait until only an idle worker's polls come."""
    earlier = -most - 1
    while counted.total - earlier > most:
        earlier = counted.total
        time.sleep(1.0)


def _of_a_submission(made: Lab, submissions: int) -> float:
    made.flush()
    with counting(made.redis_url) as counted:
        gateway = start_gateway(made, REDIS_URL=counted.url)
        before = counted.total
        with gateway.connected() as connection:
            for number in range(submissions + 1):
                if number == 1:
                    before = counted.total  # the first one may have loaded the script
                connection.post(gateway.path, json.loads(BODY), headers={"Idempotency-Key": f"k{number}"})
        after = counted.total
        gateway.process.end()
    return (after - before) / submissions
