"""`python -m llm_worker.quarantine PARENT`: one attempt of a suspect, in a process of its own.

The lease comes as JSON through standard input, the outcome goes to the job book; then the exit code is 0.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared import lifeline
from shared.store import Lease

NOT_STARTED = 75  # EX_TEMPFAIL of sysexits.h: not the job's fault


def to_json(lease: Lease) -> bytes:
    """Write a lease for another process."""
    return json.dumps(asdict(lease) | {"created_at": lease.created_at.isoformat()}).encode()


def from_json(content: bytes) -> Lease:
    """Read what `to_json` wrote."""
    fields: dict[str, Any] = json.loads(content)
    return Lease(**fields | {"created_at": datetime.fromisoformat(fields["created_at"])})


async def run(ctx: dict[str, Any], lease: Lease) -> None:
    """Run the attempt; SIGTERM hands it back."""
    from llm_worker import main  # noqa: PLC0415 - heavy, and the worker that starts this has it already
    from llm_worker.run import attempt  # noqa: PLC0415 - as above

    await main.startup(ctx)
    task = asyncio.create_task(attempt(ctx, lease), name=f"{lease.task} {lease.id}")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    finally:
        await main.shutdown(ctx)


def begin() -> tuple[dict[str, Any], Lease]:
    """Read the lease and the settings. Exits with NOT_STARTED if Redis is away."""
    from llm_worker import main  # noqa: PLC0415 - as above
    from shared.start import prepare  # noqa: PLC0415 - as above

    try:
        ctx = main.context(prepare())
    except SystemExit:
        raise SystemExit(NOT_STARTED) from None
    return ctx, from_json(sys.stdin.buffer.read())


if __name__ == "__main__":
    lifeline.die_with(int(sys.argv[1]), signal.SIGKILL)
    given, lease = begin()
    asyncio.run(run(given, lease))
    os._exit(0)  # a handler's threads don't keep it
