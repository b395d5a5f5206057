"""Settings of plain arq with functions and cron jobs of their own, on top of the platform's."""

import os
import time
from pathlib import Path
from typing import Any

from arq import cron
from arq.worker import Retry

from tandem.llm_worker.main import WorkerSettings as Ours

Context = dict[str, Any]


async def double(_ctx: Context, number: int) -> int:
    return 2 * number


async def again(ctx: Context) -> int:
    if ctx["job_try"] == 1:
        raise Retry(defer=0.2)
    return int(ctx["job_try"])


async def leave(_ctx: Context) -> None:
    raise SystemExit(3)


async def note(ctx: dict[Any, Any], *_args: Any, **_kwargs: Any) -> None:
    mark(ctx["job_id"].rpartition(":")[2])  # arq names a cron job by the time that it is for


def mark(due: str) -> None:
    Path(os.environ["HOME"], f"note.{due}.{time.time_ns()}").touch()


class WorkerSettings(Ours):  # type: ignore[misc]  # made when it is asked for
    functions = [double, again, leave]
    cron_jobs = [cron(note, second=set(range(60)))]
