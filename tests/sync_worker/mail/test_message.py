"""The mail that is built, read back by the standard library's parser."""

import re
from email import message_from_bytes
from email.header import decode_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr
from typing import Any

import pytest

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.mail import EmailInput
from tandem.sync_worker.mail.envelope import Mail
from tandem.sync_worker.mail.message import Attachment, Bodies, bodies, build, message_id, sender

ID = "01JABCDEFGHJKMNPQRSTVWXYZ0"
FROM = sender("Tandem <tandem@example.com>")


def ask(**fields: Any) -> EmailInput:
    return EmailInput.model_validate({"to": ["bob@example.com"], "subject": "Hello", "text": "Hi"} | fields)


def made(job: EmailInput, *, words: Bodies | None = None, attachments: tuple[Attachment, ...] = ()) -> Mail:
    words = words or bodies(Settings(), job)
    return build(job, job_id=ID, sender=FROM, bodies=words, attachments=attachments)


def read(mail: Mail) -> EmailMessage:
    return message_from_bytes(mail.content, policy=default)


def test_headers() -> None:
    job = ask(to=["bob@example.com", "eve@example.com"], cc=["cc@example.com"], bcc=["secret@example.com"])
    mail = made(job)
    message = read(mail)
    assert message["From"] == "Tandem <tandem@example.com>"
    assert message["To"] == "bob@example.com, eve@example.com"
    assert message["Cc"] == "cc@example.com"
    assert message["Message-ID"] == f"<{ID}@example.com>" == message_id(ID, FROM)
    assert message["X-Tandem-Job"] == ID
    assert message["Date"].datetime.tzinfo is not None
    assert b"secret" not in mail.content
    assert list(mail.recipients) == ["bob@example.com", "eve@example.com", "cc@example.com", "secret@example.com"]
    assert mail.sender == "tandem@example.com"


def test_it_is_seven_bit_with_crlf_whatever_the_text() -> None:
    text = "Grüße\r.\n.\r\nFrom here\n" + "long " * 500
    mail = made(ask(subject="Grüße aus Köln " * 20, text=text, html="<p>日本語</p>"))
    assert mail.content.isascii()
    assert mail.content.count(b"\n") == mail.content.count(b"\r\n") == mail.content.count(b"\r")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    message = read(mail)
    assert message["Subject"] == ("Grüße aus Köln " * 20)
    plain, html = (part.get_content() for part in message.iter_parts())
    assert plain.split() == text.split()
    assert html.strip() == "<p>日本語</p>"
    assert message.get_content_type() == "multipart/alternative"


ENCODED = re.compile(rb"=\\?[\\w-]+\\?[bq]\\?[!->@-~]*\\?=", re.IGNORECASE)
SUBJECTS = [
    "Réglementation européenne à régler " * 9 + "x",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen à régler",
    "ü" * 500,
    "x" * 500,
    "報告書が完成しました。ご確認ください。" * 20,
    "two  blanks   and ü  more ",
    "  a",
    "=?utf-8?q?literally?=",
    "🦩" * 100,
    "a" * 58 + " ü" + "b" * 70 + " é",
    "Invoice 2041, due on 1 December, " * 10 + "paid",
]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("to", ["bob@example.com", "jörg@example.com"])
def test_a_subject_is_folded_without_a_loss(subject: str, to: str) -> None:
    """RFC 2047: words of 75 characters at most, on lines of 76, each whole by itself."""
    content = made(ask(subject=subject, to=[to])).content
    [header] = re.findall(rb"^Subject:[^\r]*(?:\r\n[ \t][^\r]*)*", content, re.MULTILINE)
    lines = header.split(b"\r\n")
    assert all(line.strip() and len(line) <= 78 for line in lines)
    words = ENCODED.findall(header)
    assert all(len(word) <= 75 for word in words)
    if words:
        assert all(len(line) <= 76 for line in lines)
        parts = [part for word in words for part in decode_header(word.decode())]
        assert "".join(part.decode(charset) for part, charset in parts) == subject, "no character is in two words"
    assert read(made(ask(subject=subject, to=[to])))["Subject"] == subject


@pytest.mark.parametrize(
    "name", ["Jürgen Müller-Lüdenscheidt " * 6 + "x", "Über, Ltd. <x>", "山田太郎", '"Ü"', "Ann; Bob, Inc."]
)
def test_a_senders_name_is_folded_without_a_loss(name: str) -> None:
    address = Address(name, "tandem", "example.com")
    content = build(ask(), job_id=ID, sender=address, bodies=Bodies("Hi")).content
    assert all(len(word) <= 75 for word in ENCODED.findall(content))
    assert max(map(len, content.split(b"\r\n"))) <= 78
    [header] = re.findall(rb"^From:([^\r]*(?:\r\n[ \t][^\r]*)*)", content, re.MULTILINE)
    written, address_of = parseaddr(re.sub(r"\r\n", "", header.decode()))
    shown = "".join(
        part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in decode_header(written)
    )
    assert (shown, address_of) == (name, "tandem@example.com")


@pytest.mark.parametrize(
    "name", ["Überprüfungsbericht für März " * 6 + ".pdf", "a" * 200 + ".pdf", "報告 'x' %41 \"y\".pdf", "a;b=c.pdf"]
)
def test_a_files_name_survives(name: str) -> None:
    content = made(ask(), attachments=(Attachment(name, "application/pdf", b"1"),)).content
    assert max(map(len, content.split(b"\r\n"))) <= 78
    [part] = message_from_bytes(content, policy=default).iter_attachments()
    assert part.get_filename() == name


@pytest.mark.parametrize("breaker", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00"])
def test_nothing_ends_a_header_line(breaker: str) -> None:
    forged = f"Hello{breaker}Bcc: victim@example.com"
    job = ask().model_copy(update={"subject": forged})
    file = Attachment(f"a{breaker}X-Evil: 1.txt", "text/plain", b"1")
    message = read(made(job, attachments=(file,)))
    assert message["Subject"] == "Hello Bcc: victim@example.com"
    assert message["Bcc"] is None
    assert [part.get_filename() for part in message.iter_attachments()] == ["a X-Evil: 1.txt"]


def test_a_message_id_stays_whole_under_a_long_domain() -> None:
    long = sender(f"x@notifications.mail.{'eu-west-1.' * 5}example.com")
    mail = build(ask(), job_id=ID, sender=long, bodies=Bodies("Hi"))
    assert f"<{ID}@{long.domain}>".encode() in mail.content


def test_many_recipients_and_nobody_twice() -> None:
    everybody = [f"user{number}@example.com" for number in range(500)]
    mail = made(ask(to=everybody, cc=everybody[:10], bcc=["user3@example.com"]))
    assert list(mail.recipients) == everybody
    assert [address.addr_spec for address in read(mail)["To"].addresses] == everybody


def test_international_domains_go_out_in_ascii() -> None:
    mail = made(ask(to=["bob@faß.example.com", "bob@xn--fa-hia.example.com"]))
    assert list(mail.recipients.values()) == ["bob@xn--fa-hia.example.com"]
    assert not mail.utf8
    assert mail.content.isascii()


def test_international_names_make_it_a_utf8_mail() -> None:
    mail = made(ask(to=["jörg@example.com"]))
    assert mail.utf8
    assert "To: jörg@example.com\r\n".encode() in mail.content


def test_attachments() -> None:
    files = (
        Attachment("../Bericht März.pdf", "application/pdf", b"%PDF\r\n\x00"),
        Attachment("x", "multipart/mixed; boundary=x", b"y"),
    )
    message = read(made(ask(html="<p>Hi</p>"), attachments=files))
    assert message.get_content_type() == "multipart/mixed"
    found = [(p.get_filename(), p.get_content_type(), p.get_content()) for p in message.iter_attachments()]
    assert found == [
        ("Bericht März.pdf", "application/pdf", b"%PDF\r\n\x00"),
        ("x", "application/octet-stream", b"y"),
    ]
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "Hi"


def test_too_large() -> None:
    with pytest.raises(FinalError, match="at most") as caught:
        made(ask(), attachments=(Attachment("a.bin", "application/zip", bytes(16 * 1024 * 1024)),))
    assert caught.value.type == "mail_too_large"
    assert made(ask(), attachments=(Attachment("a.bin", "application/zip", bytes(15 * 1000 * 1000)),)).content


@pytest.mark.parametrize("mail_from", ["", "nobody", "a@b@", "<>", "Tandem <tandem@>", "x@exa\u2100mple..com"])
def test_a_wrong_sender(mail_from: str) -> None:
    with pytest.raises(FinalError, match="TANDEM_MAIL_FROM") as caught:
        sender(mail_from)
    assert caught.value.type == "not_configured"


def test_a_sender_s_name_in_any_script() -> None:
    assert str(sender("Übersee <info@exämple.com>")) == "Übersee <info@xn--exmple-cua.com>"


# --- bodies


@pytest.mark.parametrize("name", ["welcome", "report_ready"])
@pytest.mark.parametrize("context", [{}, {"name": "Ada <b>", "title": "Q3", "url": "https://x.example/?a=1&b=2"}])
def test_our_templates_speak_twice(name: str, context: dict[str, str]) -> None:
    words = bodies(Settings(), ask(text=None, template=name, context=context))
    assert words.text is not None
    assert words.html is not None
    assert words.html.startswith("<!DOCTYPE html>")
    assert "<b>" not in words.html
    for value in context.values():
        assert value in words.text or value == "Q3"


def test_html_alone_stays_alone() -> None:
    message = read(made(ask(text=None, html="<p>Hi</p>")))
    assert message.get_content_type() == "text/html"


def test_an_unknown_template() -> None:
    with pytest.raises(FinalError, match="welcome") as caught:
        bodies(Settings(), ask(text=None, template="../welcome"))
    assert caught.value.type == "unknown_template"
