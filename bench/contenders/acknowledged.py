"""Jobs a second, from the first job's first line to the last acknowledged end."""

import time

import redis

from bench.contenders.trial import Trial
from bench.contenders.unfinished import unfinished
from bench.lab.processes import NotMeasuredError, Running, until

STALLED = 30.0  # seconds
LOOK_EVERY = 0.02


def rate(trial: Trial, workers: list[Running], *, jobs: int, longest: float) -> float:
    """Open the gate and give acknowledged jobs a second, of those within `longest` seconds; ends the workers.

    Raises:
        NotMeasuredError: nothing ran, or not each job ran once.

    """
    trial.open()
    until(lambda: trial.count() > 0, what="the first job", patience=STALLED, every=0.002)
    left, latest = jobs, time.time() + longest
    with redis.Redis.from_url(trial.lab.redis_url) as server:
        while left and time.time() < latest:
            time.sleep(LOOK_EVERY)
            left = unfinished(server, trial.contender, jobs)
        ended = time.time()
    for worker in workers:
        worker.end()
    entries = trial.entries()
    if left >= jobs or (not left and len(entries) != jobs):
        raise NotMeasuredError(f"{len(entries)} runs and {jobs - left} ends of {jobs} jobs")
    return (jobs - left) / (ended - entries[0].began)
