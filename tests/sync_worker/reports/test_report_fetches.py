"""What a report may fetch, and what becomes of a document that asks for more."""

import os
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from tandem.shared.errors import JobError
from tandem.sync_worker.reports import pdf
from tandem.sync_worker.reports.fetch import Client


def refused(html: str, **options: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        pdf.render(html, **options)
    return caught.value


FILE = "file:///etc/hostname"
SVG_WITH_FILE = (
    f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><image href='{FILE}' width='9' height='9'/></svg>"
)


@pytest.mark.parametrize(
    ("html", "named"),
    [
        (f"<img src='{FILE}'>", FILE),
        (f"<object data='{FILE}'></object>", FILE),
        (f"<embed src='{FILE}'>", FILE),
        ("<base href='file:///etc/'><img src='hostname'>", FILE),
        (f"<style>@import '{FILE}';</style>", FILE),
        (f"<style>@font-face {{ font-family: x; src: url({FILE}) }} p {{ font-family: x }}</style><p>x", FILE),
        (f"<style>@page {{ background: url({FILE}) }}</style>", FILE),
        (f"<style>@color-profile --x {{ src: url({FILE}) }}</style>", FILE),
        (f"<link rel=stylesheet href='{FILE}'>", FILE),
        (f'<img src="data:image/svg+xml,{SVG_WITH_FILE}">', FILE),
        (SVG_WITH_FILE, FILE),
        (f"<link rel=attachment href='{FILE}'>", FILE),
        (f"<link rel='x  ATTACHMENT' href='{FILE}'>", FILE),
        (f"<p><a rel=attachment href='{FILE}'>x</a>", FILE),
        ("<a rel=attachment href='data:,x'>x</a>", "data:,x"),
        ("<img src='http://example.com/a.png'>", "http://example.com/a.png"),
        ("<img src='ftp://example.com/a.png'>", "ftp://example.com/a.png"),
        ("<img src='//127.0.0.1/a.png'>", "https://127.0.0.1/a.png"),
        ("<img src='https://localhost/a.png'>", "https://localhost/a.png"),
        ("<img src='https://169.254.169.254/latest'>", "https://169.254.169.254/latest"),
        ("<img src='https://[::ffff:10.0.0.1]/'>", "https://[::ffff:10.0.0.1]/"),
        ("<img src='https://ada:pw@example.com/'>", "@example.com"),
        ("<img src='logo.png'>", "/logo.png was refused: it is relative"),
    ],
)
def test_a_refused_url_fails_the_job_and_is_named(html: str, named: str) -> None:
    error = refused(html)
    assert error.type == "refused_url"
    assert not error.retryable
    assert named in error.message


def test_every_refused_url_is_named() -> None:
    message = refused("<img src='file:///a'><img src='http://b/'><img src='file:///c'>").message
    assert message.count("was refused") == 3


@pytest.fixture
def open_client() -> Client:
    return Client(allow_private=True)


def test_https_is_fetched(site: str, open_client: Client) -> None:
    html = f"<link rel=stylesheet href={site}/style.css><p>x</p><img src={site}/logo.svg>"
    text = PdfReader(BytesIO(pdf.render(html, client=open_client).content)).pages[0].extract_text()
    assert "styled-by-https" in text
    assert "Logo-from-https" in text


@pytest.mark.parametrize(
    ("path", "type_", "retryable"),
    [("/to-private", "refused_url", False), ("/missing", "fetch_failed", False), ("/busy", "fetch_failed", True)],
)
def test_a_failed_fetch_fails_the_job(site: str, open_client: Client, path: str, type_: str, retryable: bool) -> None:  # noqa: FBT001
    error = refused(f"<p>x<img src='{site}{path}'>", client=open_client)
    assert (error.type, error.retryable) == (type_, retryable)
    assert f"{site}{path}" in error.message


def test_one_final_failure_decides(site: str, open_client: Client) -> None:
    error = refused(f"<img src='{site}/busy'><img src='file:///x'>", client=open_client)
    assert (error.type, error.retryable) == ("refused_url", False)
    assert "answered 503" in error.message


def test_a_document_that_can_not_be_rendered() -> None:
    error = refused("<div>" * 5000)
    assert error.type == "render_failed"
    assert "nested too deeply" in error.message


def test_an_installed_font_is_not_an_error() -> None:
    html = "<style>@font-face { font-family: x; src: local('DejaVu Sans') } p { font-family: x }</style><p>x"
    assert pdf.render(html).pages == 1


def test_preload_leaves_a_process_that_forks_well() -> None:
    pdf.preload()
    child = os.fork()
    if child == 0:
        os._exit(0 if pdf.render("<p>from the child").pages == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
