"""A mail server that breaks after DATA: `python -m tests.chaos.outside.mail_server --log FILE --seed N --port N`.

It writes down each mail whose DATA it has read whole, and what it answered.
"""
# ruff: noqa: ARG002 - aiosmtpd calls its hooks with all of these

import asyncio
import random
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.chaos.outside import lines
from tests.chaos.outside.records import Transaction
from tests.chaos.outside.serving import main
from tests.chaos.plan.model import GOODBYE, GREYLISTS, LEAVES_LATE

# Per cent. "cut": closed before the answer, and not taken; "lost": taken, but the answer never arrives.
ANSWERS = {"250": 91.0, "4xx": 3.0, "5xx": 1.0, "cut": 2.5, "lost": 2.5}
SAID = {"250": "250 2.0.0 taken", "4xx": "451 4.3.0 try again", "5xx": "554 5.6.0 not this one"}


def read(log: Path) -> list[Transaction]:
    """Read the log."""
    return [Transaction(**{k: v for k, v in entry.items() if k != "number"}) for entry in lines.read(log, "number")]


class MailServer:
    """aiosmtpd's hooks: takes mails, or does what goes wrong with mail servers."""

    def __init__(self, log: lines.Log, seed: int) -> None:
        self._log = log
        self._chance = random.Random(seed)  # noqa: S311 - the same faults for the same seed
        self._number = 0
        self._late = WeakSet[Session]()  # that have handed over such a mail
        self._known: set[str] = set()  # jobs that were told to try again

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.original_content or b"", policy=default)
        answer = self._answer(envelope.rcpt_tos, str(mail["X-Tandem-Job"]))
        if LEAVES_LATE in envelope.rcpt_tos:
            self._late.add(session)
        self._number += 1
        self._log.write(
            number=self._number,
            marker=str(mail["Subject"]),
            job=str(mail["X-Tandem-Job"]),
            message_id=str(mail["Message-ID"]),
            to=list(envelope.rcpt_tos),
            text=_text(mail),
            at=time.time(),
            answer=answer,
        )
        if answer not in SAID and isinstance(server.transport, asyncio.WriteTransport):
            server.transport.abort()
        return SAID.get(answer, SAID["4xx"])

    def _answer(self, to: list[str], job: str) -> str:
        drawn = self._chance.choices(list(ANSWERS), list(ANSWERS.values()))[0]
        if GREYLISTS in to and job not in self._known:
            self._known.add(job)
            return "4xx"
        return "250" if {GREYLISTS, LEAVES_LATE} & set(to) else drawn

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if session in self._late:
            await asyncio.sleep(GOODBYE)
        return "221 2.0.0 goodbye"


def _text(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    return str(part.get_content()).strip() if part else ""


async def serve(log: lines.Log, seed: int, port: int) -> None:
    """Serve until cancelled."""
    loop, inbox = asyncio.get_running_loop(), MailServer(log, seed)
    await loop.create_server(lambda: SMTP(inbox, loop=loop), "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(__doc__, serve)
