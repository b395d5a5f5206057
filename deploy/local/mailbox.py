"""`make mailbox`: a mail server that keeps every mail as an `.eml` file under RUN_DIR/outbox."""

import asyncio
import logging
import signal
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiosmtpd.smtp import SMTP, Envelope

from tandem.deploy.local.ports import choose, record
from tandem.shared.config.settings import load_or_exit
from tandem.shared.runtime import logs, sd_notify
from tandem.shared.runtime.command_line import take_no_options

logger = logging.getLogger("tandem.mailbox")
MAX_BYTES = 32 * 1024 * 1024


class Outbox:
    """aiosmtpd handler: writes each mail whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)  # noqa: S101 - aiosmtpd decodes nothing unless told to
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.eml"
        await asyncio.to_thread(self._write, name, content)
        subject = message_from_bytes(content, policy=default)["subject"]
        logger.info("%s to %d recipients: %s", name, len(envelope.rcpt_tos), subject)
        return "250 OK"

    def _write(self, name: str, content: bytes) -> None:
        part = self._folder / f"{name}.part"
        part.write_bytes(content)
        part.rename(self._folder / name)


async def serve(run_dir: Path) -> None:
    """Listen until SIGTERM or SIGINT."""
    recorded = run_dir / "smtp.url"
    port = choose(recorded)
    outbox = Outbox(run_dir / "outbox")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(outbox, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", port
    )
    record(recorded, f"smtp://127.0.0.1:{port}")
    sd_notify.ready()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with server:
        await stop.wait()


def main() -> None:
    settings = load_or_exit()
    logs.configure(settings)
    run_dir = settings.run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(run_dir))


if __name__ == "__main__":
    take_no_options("tandem.deploy.local.mailbox", __doc__)
    main()
