"""Sends a mail, with the files of other jobs."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import FinalError, Snooze
from tandem.shared.jobs.model import Artefact, Job, Status
from tandem.shared.store import commands
from tandem.shared.tasks.catalog.mail import EMAIL, EmailInput, EmailOutput
from tandem.sync_worker.context import SyncContext, handles
from tandem.sync_worker.mail import message, smtp, smtp_url
from tandem.sync_worker.mail.message import Attachment

JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
SOON = timedelta(seconds=2)
LATER = timedelta(minutes=5)


@handles(EMAIL)
def email(ctx: SyncContext, job: EmailInput) -> EmailOutput:
    """Send the mail.

    Raises:
        Snooze: a job whose file is to be attached has not finished yet.
        FinalError: `no_such_attachment`, `mail_too_large`, `not_configured`, a template's errors,
            or the mail server's (see `mailer`).
        TransientError: the mail server's.

    """
    server = _server(ctx.settings)
    sender = message.sender(ctx.settings.mail_from)
    mail = message.build(
        job,
        job_id=ctx.job_id,
        sender=sender,
        bodies=message.bodies(ctx.settings, job),
        attachments=_attachments(ctx, job),
    )
    # A run that can neither read nor write the marker waits for Redis, as its outcome would have to.
    before = ctx.book.insist(commands.find_sent_to(ctx.job_id))
    delivery = smtp.send(server, mail, sent=before, mark=partial(_mark, ctx))
    return EmailOutput(
        message_id=message.message_id(ctx.job_id, sender), accepted=delivery.accepted, rejected=delivery.rejected
    )


def _mark(ctx: SyncContext, accepted: list[str]) -> None:
    ctx.book.insist(commands.mark_sent_to(ctx.job_id, accepted, ttl=ctx.settings.job_ttl))


def _server(settings: Settings) -> smtp_url.Server:
    try:
        return smtp_url.parse(settings.smtp)
    except SettingsError as error:
        raise FinalError(str(error), type="not_configured") from None
    except ValueError as error:
        raise FinalError(f"SMTP_URL: {error}", type="not_configured") from None


def _attachments(ctx: SyncContext, job: EmailInput) -> list[Attachment]:
    """Read the files only when all are there and small enough together."""
    files = {job_id: _file(ctx, job_id) for job_id in job.attachments}
    message.check_size(sum(file.bytes for file in files.values()))
    return [_read(ctx, job_id, file) for job_id, file in files.items()]


def _file(ctx: SyncContext, job_id: str) -> Artefact:
    """Find a job's file. Another owner's job is not told apart from one that does not exist."""
    found = ctx.book.run(commands.fetch(job_id)) if JOB_ID.fullmatch(job_id) else None
    if found is None or found.owner != ctx.owner:
        raise _missing(job_id, "there is no such job")
    if not found.finished:
        raise Snooze(_wait(found), why="the job of an attachment has not ended")
    if found.status is not Status.SUCCEEDED:
        raise _missing(job_id, f"the job is {found.status}")
    if found.file is None:
        raise _missing(job_id, f"its task, {found.task}, makes no file")
    return found.file


def _wait(job: Job) -> timedelta:
    """Look again soon, or when a job that is planned for later may have begun. It ends: every job does."""
    if job.status is not Status.SCHEDULED or job.run_at is None:
        return SOON
    return max(SOON, min(job.run_at - datetime.now(UTC), LATER))


def _read(ctx: SyncContext, job_id: str, file: Artefact) -> Attachment:
    try:
        return Attachment(file.name, file.media_type, ctx.files.get(file.key))
    except FileNotFoundError:
        raise _missing(job_id, "its file was removed") from None


def _missing(job_id: str, reason: str) -> FinalError:
    return FinalError(f"attachment {job_id[:80]!r}: {reason}", type="no_such_attachment")
