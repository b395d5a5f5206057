"""Read as `tandem.sync_worker.handlers.telling`."""

import threading
from typing import Any

from tandem.sync_worker.context import SyncContext, handles
from tests.support.tasks.specs import SYNC_TELLING, TellingInput, Told
from tests.support.tasks.telling import convert, end


@handles(SYNC_TELLING)
def tell(_ctx: SyncContext, job: TellingInput) -> Any:
    if job.how == "forget a thread":
        thread = threading.Thread(target=convert, args=[job.secret])
        thread.start()
        thread.join()
        return Told(done="well")
    return end(job.how, job.secret)
