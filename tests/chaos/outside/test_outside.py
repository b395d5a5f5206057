"""The programs outside write down what they were told."""

import asyncio
import smtplib
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tandem.deploy.local.ports import free_port
from tandem.shared.store.deliveries import Delivery
from tandem.shared.webhooks.request import headers
from tandem.sync_worker.reports import pdf
from tests.chaos.outside import files, mail_server, webhook_receiver
from tests.chaos.outside.lines import Log
from tests.chaos.outside.serving import serve
from tests.chaos.plan.model import GREYLISTS
from tests.support.processes import until

BODY = '{"type": "job.succeeded", "data": {"id": "id-1", "status": "succeeded", "result": {"text": "x"}}}'
OTHER = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgMjQgYnl0ZXM="


@pytest.mark.parametrize(("secret", "signed"), [(webhook_receiver.SECRET, True), (OTHER, False)])
async def test_a_receiver_verifies_signatures(tmp_path: Path, secret: str, *, signed: bool) -> None:
    log, port = tmp_path / "log", free_port()
    with log.open("a") as file:
        receiver = webhook_receiver.Receiver(Log(file), seed=1)
        serving = asyncio.create_task(serve(receiver.handle, path="/{path:.*}", port=port))
        delivery = Delivery("id-1-1", "id-1", "job.succeeded", "", datetime.now(UTC), attempt=0, body="", token="")
        async with aiohttp.ClientSession() as client:
            while not webhook_receiver.read(log):
                try:
                    await client.post(f"http://127.0.0.1:{port}/", data=BODY, headers=headers(delivery, BODY, secret))
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)
        serving.cancel()
    [call] = webhook_receiver.read(log)
    assert (call.signed, call.status, call.result) == (signed, "succeeded", {"text": "x"})


def test_a_files_text_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "ann/id-1/1"
    folder.mkdir(parents=True)
    (folder / "a.pdf").write_bytes(pdf.render("<p>job-1-7.", pdf.Properties(title="x")).content)
    (folder / "b.pdf").write_bytes(b"%PDF-1.7\nhalf of it")
    assert ["job-1-7." in file.said for file in files.read(tmp_path)] == [True, False]


def test_a_mails_text_is_read() -> None:
    mail = EmailMessage()
    mail.set_content("Hello")
    mail.add_alternative("<p>Hello", subtype="html")
    mail.add_attachment(b"x", maintype="application", subtype="pdf")
    assert mail_server._text(mail) == "Hello"


async def test_a_greylisted_mail_is_taken_when_it_comes_again(tmp_path: Path) -> None:
    log, port = tmp_path / "log", free_port()
    with log.open("a") as file:
        serving = asyncio.create_task(mail_server.serve(Log(file), 1, port))
        told = [await asyncio.to_thread(until, partial(_answer, port, job)) for job in ("id-1", "id-2", "id-1")]
        serving.cancel()
    assert told == [451, 451, 250]
    assert [(mail.job, mail.answer) for mail in mail_server.read(log)] == [
        ("id-1", "4xx"),
        ("id-2", "4xx"),
        ("id-1", "250"),
    ]


def _answer(port: int, job: str) -> int:
    """Send a job's mail; gives the code of the answer, 0 if nobody serves yet."""
    with suppress(ConnectionRefusedError), smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail("us@example.com")
        client.rcpt(GREYLISTS)
        return client.data(f"Subject: job-1-1.\r\nX-Tandem-Job: {job}\r\n\r\nHello")[0]
    return 0
