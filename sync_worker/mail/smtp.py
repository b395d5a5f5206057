"""Hands one mail to an SMTP server (RFC 5321). The only file that knows smtplib.

What a job's owner may see:

| what happened                                          | error                                 |
|--------------------------------------------------------|---------------------------------------|
| no connection, connection lost, no answer in time      | `smtp_unavailable`, tried again       |
| 4xx to the connection, MAIL, DATA or every recipient   | `smtp_busy`, tried again              |
| 5xx to the connection, MAIL or DATA                    | `smtp_refused`, final                 |
| 5xx to every recipient                                 | `recipients_refused`, final           |
| user or password refused, or no way to log in          | `smtp_auth_failed`, final             |
| TLS demanded but not offered, certificate not trusted  | `smtp_insecure`, final                |
| an address needs SMTPUTF8 and the server has none      | `smtp_utf8_unsupported`, final        |

Once one recipient is accepted the mail counts as sent, and what happens to the others is reported in
`rejected`, a 4xx too. Who got it is remembered (see `sent`): an attempt after a crash goes on with the others.
"""

import ipaddress
import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tandem.shared.errors import FinalError, JobError, TransientError
from tandem.sync_worker.mail.envelope import PERMANENT, TEMPORARY, Delivery, Mail, Mark, Reply
from tandem.sync_worker.mail.smtp_url import Server

METHODS = ("CRAM-MD5", "PLAIN", "LOGIN")  # smtplib's
AUTHENTICATED = (235, 503)  # 503: already logged in
CLOSING = 421
TOO_MANY = 452

TIMEOUT = 30.0  # seconds for each answer
# An answer to the mail itself that comes after we gave up means that it is sent twice: RFC 5321,
# 4.5.3.2.6 asks for ten minutes. This is what the task's two minutes leave.
DATA_TIMEOUT = 80.0
QUIT_TIMEOUT = 3.0
MAX_REASON = 300


def send(server: Server, mail: Mail, *, sent: Sequence[str] = (), mark: Mark = list) -> Delivery:
    """Hand `mail` over for all its recipients, over one connection.

    `sent` are those who have got it already, from an attempt that did not come to its end; `mark` is
    called each time that the server has taken the mail.

    Raises:
        TransientError: nobody got it, a later attempt may do better.
        FinalError: nobody got it and nobody will. For the types see the top of this file.

    """
    if set(mail.recipients).issubset(sent):
        return Delivery(list(mail.recipients), {})
    with _translated(server):
        with _session(server) as smtp:
            _check_utf8(smtp, server, mail)
            accepted, refused = _deliver(smtp, mail, sent, mark)
        if not accepted:
            raise _all_refused(refused)
    return Delivery(accepted, {address: _reason(reply) for address, reply in refused.items()})


# --- the connection


@contextmanager
def _session(server: Server) -> Iterator[smtplib.SMTP]:
    """Connect, encrypt and log in; say goodbye only if all went well, for a broken server may not answer."""
    smtp = _connect(server)
    try:
        _secure(smtp, server)
        _login(smtp, server)
        yield smtp
        _set_timeout(smtp, QUIT_TIMEOUT)
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()
    finally:
        smtp.close()


def _connect(server: Server) -> smtplib.SMTP:
    if server.tls == "wrapped":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)


def _secure(smtp: smtplib.SMTP, server: Server) -> None:
    smtp.ehlo_or_helo_if_needed()
    if server.tls in ("wrapped", "never"):
        return
    if smtp.has_extn("starttls"):
        # No way back to plain text if this fails: whoever can break it could also read the mail.
        smtp.starttls(context=ssl.create_default_context())
        smtp.ehlo_or_helo_if_needed()
    elif server.tls == "always":
        raise FinalError(f"{server} offers no STARTTLS, which SMTP_URL demands", type="smtp_insecure")


def _login(smtp: smtplib.SMTP, server: Server) -> None:
    if server.user is None:
        return
    if not _private(smtp):
        message = f"the connection to {server} is not encrypted: user and password are not sent over it"
        raise FinalError(message, type="smtp_insecure")
    try:
        _authenticate(smtp, server.user, server.password)
    except smtplib.SMTPAuthenticationError as error:
        # Only the code: some servers repeat the command, and with it the password.
        if Reply(error.smtp_code, "").temporary:
            raise TransientError(
                f"{server} can't check the password now ({error.smtp_code})", type="smtp_busy"
            ) from None
        message = f"{server} refused user or password ({error.smtp_code})"
        raise FinalError(message, type="smtp_auth_failed") from None
    except smtplib.SMTPNotSupportedError:
        message = f"{server} offers no way to log in that we know ({', '.join(METHODS)})"
        raise FinalError(message, type="smtp_auth_failed") from None


def _authenticate(smtp: smtplib.SMTP, user: str, password: str) -> None:
    offered = smtp.esmtp_features.get("auth", "").upper()
    if not any(method in offered.split() for method in METHODS):
        raise smtplib.SMTPNotSupportedError
    smtp.esmtp_features["auth"] = offered  # names of methods are no matter of case, but smtplib's are
    if (user + password).isascii():
        smtp.login(user, password)
        return
    # smtplib can't; PLAIN is UTF-8 by its definition (RFC 4616).
    if "PLAIN" not in offered.split():
        raise smtplib.SMTPNotSupportedError
    code, _ = smtp.docmd("AUTH", "PLAIN " + b64encode(f"\0{user}\0{password}".encode()).decode())
    if code not in AUTHENTICATED:
        raise smtplib.SMTPAuthenticationError(code, b"")


def _private(smtp: smtplib.SMTP) -> bool:
    """Whether nobody on the way can listen: encrypted, or never leaves this machine."""
    if smtp.sock is None or isinstance(smtp.sock, ssl.SSLSocket):
        return smtp.sock is not None
    return ipaddress.ip_address(smtp.sock.getpeername()[0]).is_loopback


def _set_timeout(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


# --- the transaction


def _deliver(smtp: smtplib.SMTP, mail: Mail, sent: Sequence[str], mark: Mark) -> tuple[list[str], dict[str, Reply]]:
    """Send in as many transactions as the server needs.

    452 to some recipients means that it takes no more of them at once (RFC 5321, 4.5.3.1.10):
    the rest goes into another transaction. Each accepts at least one, so this ends.
    """
    accepted = [address for address in mail.recipients if address in sent]
    refused: dict[str, Reply] = {}
    pending = [address for address in mail.recipients if address not in sent]
    while pending:
        try:
            taken, replies = _transaction(smtp, mail, pending)
        except (smtplib.SMTPException, OSError) as error:
            if not accepted:
                raise
            refused |= dict.fromkeys(pending, Reply(CLOSING, _text(error)))
            break
        accepted += taken
        if taken:
            mark(accepted)
        refused = {address: reply for address, reply in refused.items() if address not in taken} | replies
        pending = [address for address, reply in replies.items() if reply.code == TOO_MANY] if taken else []
    return accepted, refused


def _transaction(smtp: smtplib.SMTP, mail: Mail, addresses: Sequence[str]) -> tuple[list[str], dict[str, Reply]]:
    """MAIL, RCPT for each, DATA if anybody is taken."""
    _expect(*smtp.mail(mail.sender, _options(smtp, mail)))
    replies = {address: _rcpt(smtp, mail.recipients[address]) for address in addresses}
    taken = [address for address, reply in replies.items() if reply.positive]
    refused = {address: reply for address, reply in replies.items() if not reply.positive}
    if taken:
        _set_timeout(smtp, DATA_TIMEOUT)
        _expect(*smtp.data(mail.content))
        _set_timeout(smtp, TIMEOUT)
    return taken, refused


def _options(smtp: smtplib.SMTP, mail: Mail) -> list[str]:
    size = [f"SIZE={len(mail.content)}"] if smtp.has_extn("size") else []
    return [*size, "BODY=8BITMIME", "SMTPUTF8"] if mail.utf8 else size


def _rcpt(smtp: smtplib.SMTP, address: str) -> Reply:
    code, text = smtp.rcpt(address)
    if code == CLOSING or not TEMPORARY <= code < PERMANENT + 100:
        _expect(code, text)
    return Reply(code, _text(text))


def _expect(code: int, text: bytes) -> None:
    if not Reply(code, "").positive:
        raise smtplib.SMTPResponseException(code, text)


def _check_utf8(smtp: smtplib.SMTP, server: Server, mail: Mail) -> None:
    if mail.utf8 and not smtp.has_extn("smtputf8"):
        international = [a for a in (mail.sender, *mail.recipients.values()) if not a.isascii()]
        message = f"{server} takes no addresses with letters beyond ASCII: {', '.join(international)}"
        raise FinalError(message, type="smtp_utf8_unsupported")


# --- what it means


@contextmanager
def _translated(server: Server) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise _refusal(server, Reply(error.smtp_code, _text(error.smtp_error))) from None
    except ssl.SSLCertVerificationError as error:
        message = f"the certificate of {server} is not trusted: {error.verify_message}"
        raise FinalError(message, type="smtp_insecure") from None
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"{server} can't be reached: {_text(error)}", type="smtp_unavailable") from None


def _refusal(server: Server, reply: Reply) -> JobError:
    if reply.temporary:
        return TransientError(f"{server} is busy: {reply}", type="smtp_busy")
    if reply.code >= PERMANENT:
        return FinalError(f"{server} refused the mail: {reply}", type="smtp_refused")
    return TransientError(f"{server} does not speak SMTP: {reply}", type="smtp_unavailable")


def _all_refused(refused: Mapping[str, Reply]) -> JobError:
    reasons = "; ".join(f"{address}: {reply}" for address, reply in refused.items())
    if any(reply.temporary for reply in refused.values()):
        return TransientError(f"no recipient was accepted: {reasons}", type="smtp_busy")
    return FinalError(f"every recipient was refused: {reasons}", type="recipients_refused")


def _reason(reply: Reply) -> str:
    return f"{reply} (temporary; not sent again)" if reply.temporary else str(reply)


def _text(said: bytes | str | Exception) -> str:
    """Make one printable line of what a server or the system said."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()[:MAX_REASON]
