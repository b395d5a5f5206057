"""The mail server's URL."""

import pytest

from tandem.sync_worker.mail.smtp_url import Server, parse
from tests.support.servers.smtp import PASSWORD


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://relay", Server("relay", 25)),
        ("smtp://u:p@relay", Server("relay", 587, "auto", "u", "p")),
        ("smtps://u:p@relay", Server("relay", 465, "wrapped", "u", "p")),
        ("smtp://relay:2525/?starttls=always", Server("relay", 2525, "always")),
        ("smtp://[::1]:2525?starttls=never", Server("::1", 2525, "never")),
        ("smtp://a%40b:p%40ss%3Aw%2Frd%20%231@h:587", Server("h", 587, "auto", "a@b", PASSWORD)),
        ("smtp://u:p%C3%A4ss@h", Server("h", 587, "auto", "u", "päss")),
    ],
)
def test_a_url_is_read(url: str, server: Server) -> None:
    assert parse(url) == server
    assert "password" not in repr(parse(url))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("relay:25", "must begin"),
        ("http://relay", "must begin"),
        ("smtp://", "no host"),
        ("smtp://u@relay", "both user and password"),
        ("smtp://:p@relay", "both user and password"),
        ("smtp://u:s3cr3t/x@relay", "%2F"),
        ("smtp://u:1/s3cr3t@relay", "%2F"),
        ("smtp://u:s3cr3t#x@relay", "%23"),
        ("smtp://u:s3cr3t?x@relay", "starttls=auto"),
        ("smtp://u:s3cr3t@relay:99999", "port"),
        ("smtp://u:s3cr3t@relay:0", "port"),
        ("smtp://u:s3cr3t%0a@relay", "control"),
        ("smtp://u:s3cr3t%ff@relay", "UTF-8"),
        ("smtp://u:s3cr3t@[relay", "not a URL"),
        ("smtp://u:s3cr3t\u2100@relay", "not a URL"),
        ("smtp://relay?tls=1", "starttls=auto"),
        ("smtp://relay?starttls=maybe", "auto, always or never"),
        ("smtps://relay?starttls=never", "does not apply"),
        (f"smtp://{'a' * 70}.example", "not a name"),
    ],
)
def test_a_bad_url_is_explained_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse(url)
    assert "s3cr3t" not in str(caught.value)
