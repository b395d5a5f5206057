"""A copy of the project with two more tasks that misbehave as they are told, one for each pool."""

import asyncio
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.platform import Platform
from tests.support.servers.smtp import Inbox
from tests.support.sources import copy_sources
from tests.support.workers.left_behind import LEAVE_BEHIND

SPEC = '''
"""Tasks that misbehave."""

from datetime import timedelta
from typing import Any

from shared.spec import Input, Output, Queue, RetryPolicy, TaskSpec


class TroubleInput(Input):
    how: str
    marks: str = ""


class TroubleOutput(Output):
    done: Any


RETRY = RetryPolicy(max_attempts=2, base=timedelta(milliseconds=100))
LIMIT = timedelta(seconds=3)
EXAMPLE = {"how": "well"}

ASYNC_TROUBLE = TaskSpec(
    name="async_trouble", queue=Queue.LLM, summary="Trouble.", input=TroubleInput, output=TroubleOutput,
    example=EXAMPLE, timeout=LIMIT, retry=RETRY,
)
SYNC_TROUBLE = TaskSpec(
    name="sync_trouble", queue=Queue.SYNC, summary="Trouble.", input=TroubleInput, output=TroubleOutput,
    example=EXAMPLE, timeout=LIMIT, retry=RETRY,
)
'''

ASYNC_HANDLER = """
import asyncio
import os
import signal
import sys
from pathlib import Path

from llm_worker.context import handles
from shared.catalog.trouble import ASYNC_TROUBLE, TroubleOutput


class Worse(BaseException):
    pass


@handles(ASYNC_TROUBLE)
async def trouble(ctx, job):
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{os.getpid()}").touch()
    match job.how:
        case "exit":
            sys.exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "worse":
            raise Worse("worse than an exception")
        case "hang":
            await asyncio.sleep(60)
        case "swallow":
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise ValueError("I was not to be cancelled") from None
        case "slow":
            await asyncio.sleep(2)
        case "nothing":
            return None
    return TroubleOutput(done=job.how)
"""

SYNC_HANDLER = (
    LEAVE_BEHIND
    + """
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from shared.catalog.trouble import SYNC_TROUBLE, TroubleOutput
from sync_worker.context import handles


FILL = "import time; kept = b'x' * 100 * 2**20; time.sleep(60)"


@handles(SYNC_TROUBLE)
def trouble(ctx, job):
    if job.marks:
        Path(job.marks, f"{ctx.job_id}.{os.getpid()}").touch()
    match job.how:
        case "segfault":
            ctypes.string_at(0)
        case "vanish":
            os._exit(0)
        case "exit":
            sys.exit(3)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        case "slow":
            time.sleep(2.5)
        case "fill":
            kept = []
            while True:
                kept.append(b"x" * 2**22)
        case "gulp":
            bytearray(2**36)
        case "brood":
            sleepers = [subprocess.Popen([sys.executable, "-c", FILL]) for _ in range(3)]
            sleepers[0].wait()
        case "fork":
            leave_behind(job.marks)
            while len(list(Path(job.marks).glob("left.*"))) < 2:
                time.sleep(0.01)
        case "print":
            lines = (b"x" * 1023 + b"\\n") * 1024
            for _ in range(1024):
                os.write(1, lines)
            print("the last words", flush=True)
        case "object":
            return TroubleOutput(done=object())
        case "bytes":
            return TroubleOutput(done=b"\\xff")
        case "other":
            return {"done": "well"}
        case "nothing":
            return None
    return TroubleOutput(done=job.how)
"""
)


class Moody(Inbox):
    """A mail server that says no more when it hears of `hang`, and does not know `gone`."""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("hang"):
            await asyncio.sleep(600)
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        return await super().handle_RCPT(server, session, envelope, address, options)


def project(folder: Path, *, hasty: bool = True) -> Path:
    """Make the copy; parts started with it as their working directory run from it.

    `hasty`: some time limits are shorter there.
    """
    copy_sources(folder)
    report = folder / "sync_worker/reports/templates/report"
    (report / "endless.html").write_text(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    )
    if hasty:
        shorten(folder / "sync_worker/reports/bounds.py", "MAX_SECONDS = 10.0", "MAX_SECONDS = 0.3")
        shorten(folder / "sync_worker/mail/smtp.py", "TIMEOUT = 30.0", "TIMEOUT = 0.5")
    (folder / "shared/tasks/catalog/trouble.py").write_text(SPEC)
    (folder / "llm_worker/handlers/trouble.py").write_text(ASYNC_HANDLER)
    (folder / "sync_worker/handlers/trouble.py").write_text(SYNC_HANDLER)
    return folder


def shorten(file: Path, limit: str, shorter: str) -> None:
    """Let a time limit come sooner."""
    text = file.read_text()
    assert limit in text
    file.write_text(text.replace(limit, shorter))


def submit(running: Platform, pool: str, how: str, marks: Path | None = None) -> str:
    body = {"how": how, "marks": str(marks or "")}
    with running.client() as client:
        answer = client.post(f"/v1/{pool}_trouble", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])
