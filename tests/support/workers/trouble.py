"""A platform with two more tasks that misbehave as they are told, one for each pool."""

import asyncio
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.platform import Platform
from tests.support.servers.smtp import Inbox
from tests.support.tasks import SHORT_LIMITS, TEMPLATES, WITH_TASKS

TROUBLED = {**WITH_TASKS, **SHORT_LIMITS, "TANDEM_TEMPLATES": str(TEMPLATES)}


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


def submit(running: Platform, pool: str, how: str, marks: Path | None = None) -> str:
    body = {"how": how, "marks": str(marks or "")}
    with running.client() as client:
        answer = client.post(f"/v1/{pool}_trouble", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])
