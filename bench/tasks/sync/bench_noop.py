"""Read as `tandem.sync_worker.handlers.bench_noop` by a process that `bench.extended` started."""

import os

from bench import tally
from bench.tasks.specs import SYNC_NOOP, Nothing, Sent
from tandem.sync_worker.context import SyncContext, handles


@handles(SYNC_NOOP)
def noop(ctx: SyncContext, job: Sent) -> Nothing:
    del ctx
    tally.note(job.sent)
    return Nothing(pid=os.getpid())
