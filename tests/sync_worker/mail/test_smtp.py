"""The mailer against real SMTP servers."""

import socket
import ssl
from pathlib import Path

import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.errors import FinalError, JobError, TransientError
from tandem.sync_worker.mail import smtp
from tandem.sync_worker.mail.envelope import Delivery, Mail
from tandem.sync_worker.mail.smtp import send
from tandem.sync_worker.mail.smtp_url import Server
from tests.support.servers.smtp import PASSWORD, USER, Inbox, certificate, scripted, serve

Tls = tuple[Path, ssl.SSLContext]
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
READY = ("220 test", "250 test")


def mail(*recipients: str, utf8: bool = False) -> Mail:
    addresses = recipients or ("bob@example.com",)
    return Mail("ada@example.com", {a: a for a in addresses}, b"Subject: hi\r\n\r\n.dot\r\n", utf8=utf8)


def plain(port: int, *, user: str | None = None, password: str = PASSWORD) -> Server:
    return Server("127.0.0.1", port, "auto", user, password if user else "")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Trust the certificate in the way an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    return tls[1]


# --- who gets it


def test_a_mail_arrives_as_it_is() -> None:
    with serve(inbox := Inbox()) as port:
        delivery = send(plain(port), mail("bob@example.com", "eve@example.com"))
    assert delivery == Delivery(["bob@example.com", "eve@example.com"], {})
    [received] = inbox.received
    assert received.recipients == ["bob@example.com", "eve@example.com"]
    assert received.content == b"Subject: hi\r\n\r\n.dot\r\n"
    assert "SIZE=21" in received.options


def test_refused_recipients_are_reported_and_the_others_get_the_mail_once() -> None:
    replies = {"gone@example.com": "550 5.1.1 No such user", "grey@example.com": "451 4.7.1 Greylisted"}
    with serve(inbox := Inbox(replies=replies)) as port:
        delivery = send(plain(port), mail("gone@example.com", "bob@example.com", "grey@example.com"))
    assert delivery.accepted == ["bob@example.com"]
    assert delivery.rejected == {
        "gone@example.com": "550 5.1.1 No such user",
        "grey@example.com": "451 4.7.1 Greylisted (temporary; not sent again)",
    }
    assert [received.recipients for received in inbox.received] == [["bob@example.com"]]


def test_more_recipients_than_the_server_takes_at_once_get_it_in_turns() -> None:
    everybody = [f"user{number}@example.com" for number in range(7)]
    with serve(inbox := Inbox(max_recipients=3, replies={everybody[5]: "550 no"})) as port:
        delivery = send(plain(port), mail(*everybody))
    assert sorted([*delivery.accepted, everybody[5]]) == everybody
    assert delivery.rejected == {everybody[5]: "550 no"}
    assert [len(received.recipients) for received in inbox.received] == [3, 3]


def test_an_attempt_after_a_crash_goes_on_where_it_stopped() -> None:
    inbox = Inbox(max_recipients=2)
    marks: list[list[str]] = []

    def crash(accepted: list[str]) -> None:
        marks.append(list(accepted))
        raise SystemExit

    many = mail(*(f"{name}@example.com" for name in "abcde"))
    with serve(inbox) as port:
        with pytest.raises(SystemExit):
            send(plain(port), many, mark=crash)
        delivery = send(plain(port), many, sent=marks[-1], mark=marks.append)
        assert send(plain(port), many, sent=marks[-1]) == delivery
    assert delivery == Delivery(list(many.recipients), {})
    assert [name[0] for received in inbox.received for name in received.recipients] == list("abcde")


def test_a_fault_after_the_first_delivery_does_not_send_it_again() -> None:
    answers = ["250 ok", "250 ok", "452 too many", "354 go", "", "250 taken"]
    nothing = Mail("ada@example.com", {a: a for a in ("bob@example.com", "eve@example.com")}, b"")
    with scripted(*READY, *answers) as port:
        delivery = send(Server("127.0.0.1", port, "never"), nothing)
    assert delivery.accepted == ["bob@example.com"]
    assert delivery.rejected["eve@example.com"].endswith("(temporary; not sent again)")


@pytest.mark.parametrize(
    "answers", [("250 ok", "250 ok", "354 go", "255 queued"), ("251 ok", "252 ok", "354 go", "200 ok")]
)
def test_any_2xx_is_a_yes(answers: tuple[str, ...]) -> None:
    with scripted(*READY, *answers, "221 bye") as port:
        assert send(Server("127.0.0.1", port, "never"), mail()).accepted == ["bob@example.com"]


# --- what goes wrong


def caught(server: Server, message: Mail | None = None) -> JobError:
    with pytest.raises(JobError) as info:
        send(server, message or mail())
    return info.value


def check(error: JobError, kind: type[JobError], name: str, *words: str) -> None:
    assert (type(error), error.type) == (kind, name), error.message
    for word in words:
        assert word in error.message


def test_all_refused_for_good() -> None:
    with serve(Inbox(replies={"bob@example.com": "550 5.1.1 No such user"})) as port:
        check(caught(plain(port)), FinalError, "recipients_refused", "bob@example.com: 550 5.1.1 No such user")


def test_all_refused_and_one_of_them_for_now() -> None:
    replies = {"bob@example.com": "550 no", "eve@example.com": "450 later"}
    with serve(Inbox(replies=replies)) as port:
        error = caught(plain(port), mail("bob@example.com", "eve@example.com"))
    check(error, TransientError, "smtp_busy", "eve@example.com: 450 later")


@pytest.mark.parametrize(
    ("inbox", "kind", "name"),
    [
        (Inbox(mail="451 later"), TransientError, "smtp_busy"),
        (Inbox(mail="550 never"), FinalError, "smtp_refused"),
        (Inbox(data="452 full"), TransientError, "smtp_busy"),
        (Inbox(data="554 spam"), FinalError, "smtp_refused"),
        (Inbox(replies={"bob@example.com": "421 closing"}), TransientError, "smtp_busy"),
    ],
)
def test_the_mail_as_a_whole_is_refused(inbox: Inbox, kind: type[JobError], name: str) -> None:
    with serve(inbox) as port:
        check(caught(plain(port)), kind, name)
    assert inbox.received == []


@pytest.mark.parametrize(
    ("answers", "kind", "name"),
    [
        (["421 too busy"], TransientError, "smtp_busy"),
        (["554 go away"], FinalError, "smtp_refused"),
        (["SSH-2.0-OpenSSH"], TransientError, "smtp_unavailable"),
        ([], TransientError, "smtp_unavailable"),
        ([*READY, "250 ok"], TransientError, "smtp_unavailable"),
        ([*READY, "250 ok", "250 ok", "354 go"], TransientError, "smtp_unavailable"),
        ([*READY, "250 ok", "nonsense"], TransientError, "smtp_unavailable"),
    ],
)
def test_a_server_that_breaks_off(answers: list[str], kind: type[JobError], name: str) -> None:
    with scripted(*answers) as port:
        check(caught(Server("127.0.0.1", port, "never")), kind, name, f"127.0.0.1:{port}")


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT", 0.2)
    with scripted("220 test", None) as port:
        check(caught(Server("127.0.0.1", port)), TransientError, "smtp_unavailable", "timed out")
    with scripted(None) as port:
        check(caught(Server("127.0.0.1", port)), TransientError, "smtp_unavailable", "timed out")


def test_an_answer_to_the_mail_itself_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT", 60.0)
    monkeypatch.setattr(smtp, "DATA_TIMEOUT", 0.2)
    with scripted(*READY, "250 ok", "250 ok", "354 go", None) as port:
        check(caught(Server("127.0.0.1", port, "never")), TransientError, "smtp_unavailable", "timed out")


def test_no_server_at_all() -> None:
    check(caught(plain(free_port())), TransientError, "smtp_unavailable", "refused")


def test_international_addresses_need_a_server_that_takes_them() -> None:
    ours = mail("jörg@example.com", utf8=True)
    with serve(inbox := Inbox(), enable_SMTPUTF8=True) as port:
        assert send(plain(port), ours).accepted == ["jörg@example.com"]
    assert inbox.received[0].recipients == ["jörg@example.com"]
    with serve(inbox := Inbox(), enable_SMTPUTF8=False) as port:
        check(caught(plain(port), ours), FinalError, "smtp_utf8_unsupported", "jörg@example.com")
    assert inbox.received == []


# --- encryption and login


def test_starttls_is_used_when_offered_and_the_password_arrives(trusted: ssl.SSLContext) -> None:
    with serve(inbox := Inbox(login=(USER, PASSWORD)), tls_context=trusted, auth_required=True) as port:
        send(Server("localhost", port, "auto", USER, PASSWORD), mail())
    assert inbox.received[0].encrypted
    assert inbox.logins == 1


def test_tls_from_the_first_byte(trusted: ssl.SSLContext) -> None:
    with serve(
        inbox := Inbox(login=(USER, "pässword")), wrapped=trusted, auth_required=True, auth_require_tls=False
    ) as port:
        send(Server("localhost", port, "wrapped", USER, "pässword"), mail())
    assert len(inbox.received) == 1
    assert inbox.logins == 1


def test_an_unknown_certificate_is_not_trusted_and_nothing_is_sent(tls: Tls) -> None:
    with serve(inbox := Inbox(login=(USER, PASSWORD)), tls_context=tls[1]) as port:
        check(caught(Server("localhost", port, "auto", USER, PASSWORD)), FinalError, "smtp_insecure", "certificate")
    assert inbox.logins == 0


def test_a_certificate_for_another_name_is_not_trusted(trusted: ssl.SSLContext) -> None:
    with serve(Inbox(), tls_context=trusted) as port:
        check(caught(plain(port)), FinalError, "smtp_insecure", "127.0.0.1")


def test_starttls_always_refuses_a_server_without_it() -> None:
    with serve(inbox := Inbox()) as port:
        check(caught(Server("127.0.0.1", port, "always")), FinalError, "smtp_insecure", "STARTTLS")
    assert inbox.received == []


def test_starttls_never_stays_plain(tls: Tls) -> None:
    with serve(inbox := Inbox(), tls_context=tls[1]) as port:
        send(Server("127.0.0.1", port, "never"), mail())
    assert not inbox.received[0].encrypted


def test_a_password_goes_in_the_clear_only_within_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same server, once as it is and once as if it were elsewhere: nothing is sent beyond loopback."""
    inbox = Inbox(login=(USER, PASSWORD))
    with serve(inbox, auth_require_tls=False, auth_required=True) as port:
        send(plain(port, user=USER), mail())
        assert inbox.logins == 1
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("203.0.113.5", 25), raising=False)
        check(caught(plain(port, user=USER)), FinalError, "smtp_insecure", "not encrypted")
    assert inbox.logins == 1


def test_a_wrong_password_is_final_and_not_shown() -> None:
    with serve(Inbox(login=(USER, "another")), auth_require_tls=False) as port:
        error = caught(plain(port, user=USER))
        check(error, FinalError, "smtp_auth_failed", "535")
        check(caught(plain(port, user=USER, password="fälsch")), FinalError, "smtp_auth_failed", "535")
    assert PASSWORD not in repr(error) + repr(plain(port, user=USER))


def test_a_server_that_can_t_log_in_now_and_repeats_what_it_heard() -> None:
    with scripted("220 test", "250-test\r\n250 AUTH PLAIN", "454 AUTH PLAIN AGFkYQ== later") as port:
        error = caught(plain(port, user=USER))
    check(error, TransientError, "smtp_busy", "454")
    assert "AGFkYQ" not in error.message


@pytest.mark.parametrize("password", [PASSWORD, "pässword"])
def test_a_server_without_login(password: str) -> None:
    with serve(Inbox()) as port:
        check(caught(plain(port, user=USER, password=password)), FinalError, "smtp_auth_failed", "no way to log in")


@pytest.mark.parametrize("password", [PASSWORD, "pässword"])
@pytest.mark.parametrize("offered", ["AUTH XOAUTH2 NTLM", "AUTH", "AUTH=GSSAPI"])
def test_a_server_with_other_ways_to_log_in_only(offered: str, password: str) -> None:
    with scripted("220 test", f"250-test\r\n250 {offered}") as port:
        error = caught(plain(port, user=USER, password=password))
    check(error, FinalError, "smtp_auth_failed", "no way to log in", "PLAIN")


@pytest.mark.parametrize("password", [PASSWORD, "pässword"])
def test_names_of_methods_are_no_matter_of_case(password: str) -> None:
    answers = ["235 welcome", "250 ok", "250 ok", "354 go", "250 taken", "221 bye"]
    with scripted("220 test", "250-test\r\n250 auth plain", *answers) as port:
        assert send(plain(port, user=USER, password=password), mail()).accepted == ["bob@example.com"]
