"""Read as `tandem.sync_worker.handlers.bench_hurt` by a process that `bench.jobs.extended` started."""

import os
import signal

from bench.jobs.tasks.specs import SYNC_HURT, Hurt, Nothing
from tandem.sync_worker.context import SyncContext, handles

CHUNK = 10**7


@handles(SYNC_HURT)
def hurt(ctx: SyncContext, job: Hurt) -> Nothing:
    del ctx
    if job.how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    held = []
    while True:
        held.append(b"x" * CHUNK)
