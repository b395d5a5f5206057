"""A job whose runs are seen from outside. Read as `tandem.sync_worker.handlers.journal`.

`JOURNAL` names the file that gets a line when a run begins, others while it lasts, and one when it ends;
`JOURNAL_WORKER` is who runs it.
"""

import json
import os
import secrets
import time
from typing import Any

from tandem.sync_worker.context import SyncContext, handles
from tests.support.tasks.specs import JOURNAL, Done, JournalInput

BEAT = 0.2  # seconds


@handles(JOURNAL)
def journal(ctx: SyncContext, job: JournalInput) -> Done:
    token = secrets.token_hex(8)
    who = {"job": ctx.job_id, "worker": os.environ.get("JOURNAL_WORKER", ""), "pid": os.getpid()}
    _write(token=token, marker=job.marker, began=time.time(), **who)
    end = time.monotonic() + job.seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(BEAT, left))
        _write(token=token, alive=time.time())
    _write(token=token, ended=time.time())
    return Done(done=token)


def _write(**what: Any) -> None:
    """Append a line by one call of the kernel's: nobody's line gets into another's."""
    with open(os.environ["JOURNAL"], "ab", buffering=0) as file:  # noqa: PTH123 - unbuffered
        file.write(json.dumps(what).encode() + b"\n")
