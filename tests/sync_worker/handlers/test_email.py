"""The email task: a real job book, real files, a real SMTP server."""

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr, ValidationError

from tandem.deploy.local.ports import free_port
from tandem.shared.errors import FinalError, JobError, Snooze, TransientError
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Decision, Fail, Failure, RetryIn
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Success
from tandem.shared.tasks.catalog.mail import EMAIL, EmailInput, EmailOutput
from tandem.shared.tasks.catalog.report import REPORT
from tandem.sync_worker.context import SyncContext
from tandem.sync_worker.handlers.email import email
from tests.support.keyspace.problems import assert_keyspace
from tests.support.servers.smtp import Inbox, serve
from tests.support.sync_attempts import Start

MAIL: dict[str, Any] = {"to": ["bob@example.com"], "subject": "Your report", "text": "Here it is."}
TTL = timedelta(days=7)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox) -> Iterator[str]:
    with serve(inbox) as port:
        yield f"smtp://127.0.0.1:{port}"


def send(start: Start, smtp: str, **fields: Any) -> EmailOutput:
    settings: dict[str, Any] = {"smtp_url": SecretStr(smtp), "mail_from": "Tandem <tandem@example.com>"}
    context = start(EMAIL, MAIL | fields, **settings)
    output = email(context, EmailInput.model_validate(MAIL | fields))
    assert isinstance(output, EmailOutput)
    return output


def caught(start: Start, smtp: str, **fields: Any) -> JobError:
    with pytest.raises(JobError) as info:
        send(start, smtp, **fields)
    return info.value


def report(start: Start, *, owner: str = "ada", content: bytes = b"%PDF") -> SyncContext:
    """Make a report and leave it as a job that runs."""
    context = start(REPORT, REPORT.example, owner=owner)
    context.save(name="report.pdf", media_type="application/pdf", content=content)
    return context


def succeed(context: SyncContext) -> str:
    context.book.run(leases.succeed(context.lease, Success("{}", file=context.file), usage=Usage(), ttl=TTL))
    return context.job_id


def give_up(context: SyncContext, decision: Decision) -> str:
    context.book.run(leases.give_up(context.lease, decision, usage=Usage(), ttl=TTL))
    return context.job_id


def received(inbox: Inbox) -> EmailMessage:
    [mail] = inbox.received
    return message_from_bytes(mail.content, policy=default)


def test_a_mail_with_the_files_of_two_jobs(start: Start, smtp: str, inbox: Inbox) -> None:
    first, second = succeed(report(start, content=b"%PDF-1")), succeed(report(start, content=b"%PDF-2"))
    output = send(start, smtp, cc=["eve@example.com"], bcc=["max@example.com"], attachments=[first, second, first])
    assert output.accepted == ["bob@example.com", "eve@example.com", "max@example.com"]
    assert output.rejected == {}
    message = received(inbox)
    assert message["Message-ID"] == output.message_id
    assert message["X-Tandem-Job"] in output.message_id
    assert [part.get_content() for part in message.iter_attachments()] == [b"%PDF-1", b"%PDF-2"]
    assert [part.get_filename() for part in message.iter_attachments()] == ["report.pdf", "report.pdf"]


def test_a_template(start: Start, smtp: str, inbox: Inbox) -> None:
    send(start, smtp, text=None, template="welcome", context={"name": "Ada"})
    plain, html = received(inbox).iter_parts()
    assert "Welcome, Ada" in plain.get_content()
    assert "<h1" in html.get_content()


def test_every_attempt_has_the_same_message_id(start: Start, smtp: str, inbox: Inbox) -> None:
    context = start(EMAIL, MAIL, smtp_url=SecretStr(smtp))
    for _ in range(2):
        email(context, EmailInput.model_validate(MAIL))
        context.book.client.delete(Key.SENT + context.job_id)  # a crash before it was written
    first, second = (message_from_bytes(mail.content, policy=default)["Message-ID"] for mail in inbox.received)
    assert first == second == f"<{context.job_id}@localhost>"


def test_a_lost_answer_sends_it_again_with_the_same_id(start: Start, smtp: str, inbox: Inbox) -> None:
    """The mail was taken, and nobody heard of it: only the receiver can tell that both are one."""
    inbox.lost = 1
    context = start(EMAIL, MAIL, smtp_url=SecretStr(smtp))
    job = EmailInput.model_validate(MAIL)
    with pytest.raises(TransientError) as lost:
        email(context, job)
    assert lost.value.type == "smtp_unavailable"
    assert email(context, job).accepted == ["bob@example.com"]
    first, second = (message_from_bytes(mail.content, policy=default) for mail in inbox.received)
    assert first["Message-ID"] == second["Message-ID"] == f"<{context.job_id}@localhost>"
    assert first["X-Tandem-Job"] == second["X-Tandem-Job"] == context.job_id


def test_a_crash_after_acceptance_sends_nothing_twice(start: Start, smtp: str, inbox: Inbox) -> None:
    context = start(EMAIL, MAIL, smtp_url=SecretStr(smtp))
    job = EmailInput.model_validate(MAIL)
    first = email(context, job)
    again = email(context, job)  # the crash came before the outcome was written
    assert again == first
    assert received(inbox)["X-Tandem-Job"] == context.job_id


def test_the_note_of_a_mail_lives_as_its_job(start: Start, smtp: str) -> None:
    """While that is unfinished no volatile-* eviction may take it."""
    context = start(EMAIL, MAIL, smtp_url=SecretStr(smtp))
    job, client = EmailInput.model_validate(MAIL), cast("Any", context.book.client)
    ttl = context.settings.job_ttl

    def life() -> int:
        return int(client.pttl(Key.SENT + context.job_id))

    email(context, job)
    assert life() == -1
    context.book.run(commands.cancel(context.job_id, ttl=ttl))
    assert 0 < life() <= ttl.total_seconds() * 1000
    client.delete(Key.SENT + context.job_id)
    email(context, job)  # a run that has not heard of its end yet
    assert 0 < life() <= ttl.total_seconds() * 1000
    context.book.run(commands.retry(context.job_id))
    assert life() == -1
    context.book.run(commands.cancel(context.job_id, ttl=ttl))
    assert_keyspace(client)


def test_a_report_on_its_way_is_waited_for(start: Start, smtp: str, inbox: Inbox) -> None:
    running = report(start)
    with pytest.raises(Snooze) as info:
        send(start, smtp, attachments=[running.job_id])
    assert info.value.delay == timedelta(seconds=2)
    assert inbox.received == []
    succeed(running)
    send(start, smtp, attachments=[running.job_id])
    assert len(inbox.received) == 1


@pytest.mark.parametrize(
    ("ahead", "least", "most"),
    [(timedelta(0), 2, 2), (timedelta(minutes=1), 55, 60), (timedelta(days=3), 300, 300)],
)
def test_a_planned_report_is_not_asked_for_every_moment(
    start: Start, smtp: str, ahead: timedelta, least: int, most: int
) -> None:
    planned = give_up(report(start), RetryIn(ahead, Failure("transient", "later", retryable=True)))
    with pytest.raises(Snooze) as info:
        send(start, smtp, attachments=[planned])
    assert least <= info.value.delay.total_seconds() <= most


def test_what_can_t_be_attached(start: Start, smtp: str, inbox: Inbox, book: Book) -> None:
    failed = give_up(report(start), Fail(Failure("failed", "no", retryable=False)))
    gone = report(start)
    gone.files.delete(gone.file.key if gone.file else "")
    succeed(gone)
    without_file = start(EMAIL, MAIL)
    succeed(without_file)
    book.client.set("tandem:job:odd", "not a hash")
    reasons = {
        failed: "the job is failed",
        gone.job_id: "its file was removed",
        without_file.job_id: "its task, email, makes no file",
        "01JNOSUCHJOB00000000000000": "there is no such job",
        "../../etc/passwd": "there is no such job",
        "a:b": "there is no such job",
    }
    for job_id, reason in reasons.items():
        error = caught(start, smtp, attachments=[job_id])
        assert (type(error), error.type) == (FinalError, "no_such_attachment")
        assert error.message == f"attachment {job_id!r}: {reason}"
    assert inbox.received == []


def test_another_owner_s_job_is_not_told_from_none(start: Start, smtp: str) -> None:
    running, finished = report(start, owner="eve").job_id, succeed(report(start, owner="eve"))
    for job_id in (running, finished):
        error = caught(start, smtp, attachments=[job_id])
        assert error.type == "no_such_attachment"
        assert error.message == f"attachment {job_id!r}: there is no such job"


def test_files_that_are_too_large_together_are_not_even_read(start: Start, smtp: str) -> None:
    context = report(start, content=bytes(11 * 1024 * 1024))
    twice = [succeed(context), succeed(report(start, content=bytes(10 * 1024 * 1024)))]
    context.files.delete(context.file.key if context.file else "")
    assert caught(start, smtp, attachments=twice).type == "mail_too_large"


@pytest.mark.parametrize(("smtp", "words"), [("smtp://s3cr3t@relay", "SMTP_URL: give both"), ("", "SMTP_URL is unset")])
def test_no_mail_server(start: Start, tmp_path: Path, smtp: str, words: str) -> None:
    settings: dict[str, Any] = {"smtp_url": SecretStr(smtp)} if smtp else {}
    context = start(EMAIL, MAIL, **settings)
    with pytest.raises(FinalError, match=words) as info:
        email(context, EmailInput.model_validate(MAIL))
    assert info.value.type == "not_configured"
    assert "s3cr3t" not in info.value.message
    assert not (tmp_path / "smtp.url").exists()


def test_the_local_mail_catcher_is_found(start: Start, smtp: str, inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "smtp.url").write_text(f"{smtp}\n")
    email(start(EMAIL, MAIL), EmailInput.model_validate(MAIL))
    assert len(inbox.received) == 1


def test_a_mail_server_that_is_down(start: Start) -> None:
    error = caught(start, f"smtp://127.0.0.1:{free_port()}")
    assert (type(error), error.type) == (TransientError, "smtp_unavailable")


@pytest.mark.parametrize("field", ["text", "html", "subject"])
def test_a_mail_with_nul_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        EmailInput.model_validate(MAIL | {field: "a\0b"})


def test_nul_from_a_template_is_refused(start: Start, smtp: str, inbox: Inbox) -> None:
    error = caught(start, smtp, text=None, template="welcome", context={"name": "A\0da"})
    assert (error.type, error.retryable) == ("invalid_input", False)
    assert inbox.received == []


@pytest.mark.parametrize("address", ["ann@printer.local", "ann@nas.home.arpa", "ann@münchen.local"])
def test_names_of_ones_own_network_get_mail(start: Start, smtp: str, inbox: Inbox, address: str) -> None:
    assert send(start, smtp, to=[address]).accepted == [address]
    [mail] = inbox.received
    assert mail.recipients == [address.replace("münchen", "xn--mnchen-3ya")]


@pytest.mark.parametrize(
    "address", ["ann@localhost", "ann@x.invalid", "a@b@c.local", "ann@.local", "ann\n@x.local", "x"]
)
def test_what_reaches_nobody_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match=r"to\.0"):
        EmailInput.model_validate(MAIL | {"to": [address]})
