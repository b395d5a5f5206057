"""Builds the mail that a job asks for: headers, bodies, attachments."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, parseaddr
from pathlib import PurePosixPath

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.mail import EmailInput
from tandem.shared.types.mail_address import ascii_domain
from tandem.sync_worker.mail import encoded_words
from tandem.sync_worker.mail.envelope import Mail
from tandem.sync_worker.reports.templating import Format, exists, render

MAX_BYTES = 20 * 1024 * 1024  # of the whole mail as it is sent; base64 adds a third to attachments

# Whatever some program may take for the end of a header line.
BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
MEDIA_TYPE = re.compile(r"(application|audio|font|image|model|text|video)/([\w!#$&^.+-]+)", re.ASCII)


@dataclass(frozen=True)
class Bodies:
    """The same words twice: plain, and as HTML. At least one is there."""

    text: str | None = None
    html: str | None = None


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    content: bytes


def bodies(settings: Settings, job: EmailInput) -> Bodies:
    """Take the job's own words, or render its template in every format there is.

    Raises:
        FinalError: `unknown_template` or `template_error`.

    """
    if job.template is None:
        return Bodies(job.text, job.html)

    def rendered(format: Format) -> str:
        return render(settings, kind="mail", name=job.template or "", context=job.context, format=format)

    text = rendered("txt") if exists(settings, kind="mail", name=job.template, format="txt") else None
    html = rendered("html") if text is None or exists(settings, kind="mail", name=job.template) else None
    return Bodies(text, html)


def message_id(job_id: str, sender: Address) -> str:
    """Derive the Message-ID: the same for every attempt of a job, so that a receiver can drop a repeat."""
    return f"<{job_id}@{sender.domain}>"


def sender(mail_from: str) -> Address:
    """Read `TANDEM_MAIL_FROM`: `Name <address>` or an address.

    Raises:
        FinalError: `not_configured`; it is no address.

    """
    name, address = parseaddr(mail_from)
    try:
        local, _, domain = on_the_wire(address).rpartition("@")
        if local and domain:
            return Address(BREAKS.sub(" ", name), local, domain)
    except (ValueError, MessageError):
        pass
    raise FinalError(f"TANDEM_MAIL_FROM={mail_from!r} is not `Name <address>`", type="not_configured")


def build(
    job: EmailInput, *, job_id: str, sender: Address, bodies: Bodies, attachments: Sequence[Attachment] = ()
) -> Mail:
    """Put a mail together.

    Addresses with an international domain are written in its ASCII form, which every server takes;
    those with letters beyond ASCII before the @ make the mail one that needs SMTPUTF8 (RFC 6531).

    Raises:
        FinalError: `mail_too_large`; it exceeds 20 MiB. `invalid_input`; a body holds NUL, which no mail may.

    """
    if "\0" in f"{bodies.text}{bodies.html}":
        raise FinalError("the mail's text holds the character NUL", type="invalid_input")
    recipients = {address: on_the_wire(address) for address in (*job.to, *job.cc, *job.bcc)}
    utf8 = not all(address.isascii() for address in (sender.username, *recipients.values()))
    # 7-bit bodies pass every server and relay unchanged.
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit", utf8=utf8))
    _head(message, job, sender)
    message["Message-ID"] = message_id(job_id, sender)
    message["X-Tandem-Job"] = job_id
    _body(message, bodies)
    for attachment in attachments:
        _attach(message, attachment)
    content = message.as_bytes()
    check_size(len(content))
    return Mail(sender.addr_spec, _distinct(recipients), content, utf8=utf8)


def check_size(size: int) -> None:
    """Raise FinalError `mail_too_large` if `size` bytes are too many."""
    if size > MAX_BYTES:
        raise FinalError(f"the mail has {size:,} bytes, at most {MAX_BYTES:,} are sent", type="mail_too_large")


def on_the_wire(address: str) -> str:
    """Write the domain in its ASCII form (IDNA 2008). Raises ValueError if it has none."""
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    return f"{local}@{ascii_domain(address)}"


def _distinct(recipients: dict[str, str]) -> dict[str, str]:
    """Nobody gets the mail twice for being written in two ways."""
    return {address: wire for wire, address in {wire: address for address, wire in recipients.items()}.items()}


def _head(message: EmailMessage, job: EmailInput, sender: Address) -> None:
    """Write what everybody may read: Bcc is only ever in the envelope."""
    message["From"] = encoded_words.mailbox("From", sender)
    message["To"] = _addresses(job.to)
    if job.cc:
        message["Cc"] = _addresses(job.cc)
    message["Subject"] = encoded_words.text("Subject", BREAKS.sub(" ", job.subject))
    message["Date"] = format_datetime(localtime())
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday notices stay away


def _addresses(addresses: Iterable[str]) -> list[Address]:
    parts = (on_the_wire(address).rpartition("@") for address in dict.fromkeys(addresses))
    return [Address(username=local, domain=domain) for local, _, domain in parts]


def _body(message: EmailMessage, bodies: Bodies) -> None:
    """Plain text first, HTML last: the reader shows the last that it understands (RFC 2046, 5.1.4)."""
    if bodies.text is None:
        message.set_content(bodies.html or "", subtype="html")
        return
    message.set_content(bodies.text)
    if bodies.html is not None:
        message.add_alternative(bodies.html, subtype="html")


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    known = MEDIA_TYPE.fullmatch(attachment.media_type)
    maintype, subtype = known.groups() if known else ("application", "octet-stream")
    name = PurePosixPath(BREAKS.sub(" ", attachment.name)).name or "attachment"
    message.add_attachment(attachment.content, maintype=maintype, subtype=subtype, filename=name)
