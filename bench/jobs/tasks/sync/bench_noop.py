"""Read as `tandem.sync_worker.handlers.bench_noop` by a process that `bench.jobs.extended` started."""

import os

from bench.jobs import tally
from bench.jobs.tasks.specs import SYNC_NOOP, Nothing, Sent
from tandem.sync_worker.context import SyncContext, handles


@handles(SYNC_NOOP)
def noop(ctx: SyncContext, job: Sent) -> Nothing:
    del ctx
    tally.note(job.sent)
    return Nothing(pid=os.getpid())
