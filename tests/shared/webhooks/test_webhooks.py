"""Webhooks to a real receiver: signed, tried again, and never to where they must not go."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail
from tandem.shared.jobs.view import PUSHED, message_id
from tandem.shared.store import commands, leases, queues
from tandem.shared.store.deliveries import Delivery, Outcome
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName
from tandem.shared.webhooks import deliverer, request
from tests.support.jobs import FAILURE, TTL, claim, finish, get, put
from tests.support.servers.webhooks import SECRET, Deliver, Receiver, ended, finished, shown


def test_a_receiver_learns_no_more_than_the_owner(book: Book) -> None:
    job_id = put(book, webhook_url="http://example.com/")
    failure = replace(FAILURE, trace="in a file of the platform")
    assert book.run(leases.give_up(claim(book)[0], Fail(failure), usage=Usage(), ttl=TTL))
    job = get(book, job_id)
    assert job.attempts[0]["trace"] == failure.trace, "it is there, for admins"
    delivery = Delivery("d", job_id, "job.failed", "http://example.com/", datetime.now(UTC), 1, "", "t")
    sent = json.loads(request.body(delivery, job))["data"]
    assert sent["error"]["attempts"][0]["type"] == failure.type
    assert "trace" not in sent["error"]["attempts"][0]
    assert "owner" not in sent


async def test_a_webhook_is_signed_and_holds_the_job(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    job_id = finished(book, f"{receiver.url}/takes")
    async with delivering():
        delivery = await shown(book, job_id, "delivered")
    assert (delivery["event"], delivery["attempt"], delivery["response_status"]) == ("job.succeeded", 1, 200)
    [(headers, body)] = receiver.to("/takes")
    sent = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert (sent["type"], sent["data"]["id"], sent["data"]["result"]) == ("job.succeeded", job_id, {"a": 1})
    assert sent["timestamp"] == sent["data"]["finished_at"]
    assert sent["data"]["links"]["self"] == f"/v1/jobs/{job_id}", "also of a job that was stored without its URL"
    assert headers["webhook-id"] == message_id(delivery["id"]), "as the job shows it"
    assert not list(book.client.scan_iter("tandem:delivery:*"))


async def test_a_result_larger_than_is_pushed_is_left_out(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    job_id = put(book, webhook_url=f"{receiver.url}/takes")
    finish(book, claim(book)[0], json.dumps("x" * PUSHED))
    async with delivering():
        await shown(book, job_id, "delivered")
    [(_, body)] = receiver.to("/takes")
    sent = json.loads(body)["data"]
    assert (sent["result"], sent["result_omitted"], sent["id"]) == (None, True, job_id)
    assert "deliveries" not in sent


@pytest.mark.slow
async def test_a_broken_receiver_gets_the_same_again(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    job_id = finished(book, f"{receiver.url}/recovers")
    async with delivering():
        pending = await shown(book, job_id, "pending")
        assert (pending["response_status"], pending["error"]) == (500, "HTTP 500")
        book.run(commands.erase(job_id))  # what was sent once is kept apart from the record
        await receiver.until("/recovers", 2)
    first, second = receiver.to("/recovers")
    assert first[1] == second[1]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]


async def test_who_is_gone_is_left_alone_and_redirects_are_not_followed(
    book: Book, receiver: Receiver, delivering: Deliver
) -> None:
    gone, redirected = finished(book, f"{receiver.url}/gone"), finished(book, f"{receiver.url}/redirects")
    async with delivering():
        assert (await shown(book, gone, "failed"))["response_status"] == 410
        assert (await shown(book, redirected, "pending"))["response_status"] == 307


async def test_a_hanging_receiver_delays_nobody(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    for _ in range(10):
        finished(book, f"{receiver.url}/hangs")
    job_id = finished(book, f"{receiver.url}/takes")
    async with delivering():
        await shown(book, job_id, "delivered")
        await receiver.until("/hangs", 10)
        receiver.release.set()


async def test_so_many_are_tried_at_once_and_no_more(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    ended(book, [(f"owner-{n % 20}", f"{receiver.url}/hangs") for n in range(deliverer.AT_ONCE + 10)])
    async with delivering():
        await receiver.until("/hangs", deliverer.AT_ONCE)
        job_id = finished(book, f"{receiver.url}/takes")
        await asyncio.sleep(0.3)  # in which one more would come
        assert len(receiver.got) == deliverer.AT_ONCE
        receiver.release.set()
        await shown(book, job_id, "delivered")
    assert len(receiver.got) == deliverer.AT_ONCE + 11


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433"])
async def test_no_private_address_is_connected_to(
    book: Book, receiver: Receiver, delivering: Deliver, host: str
) -> None:
    job_id = finished(book, receiver.url.replace("127.0.0.1", host) + "/takes")
    async with delivering(allow_private_webhooks=False):
        delivery = await shown(book, job_id, "failed")
    assert "refused" in delivery["error"] or "canonical" in delivery["error"]
    assert receiver.got == []


async def test_each_end_has_its_event_and_its_id(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    job_id = put(book, webhook_url=f"{receiver.url}/takes")
    [lease] = claim(book)
    book.run(leases.give_up(lease, Fail(FAILURE), usage=Usage(), ttl=TTL))
    async with delivering():
        assert (await shown(book, job_id, "delivered"))["event"] == "job.failed"
        book.run(commands.retry(job_id))
        book.run(commands.cancel(job_id, ttl=TTL))
        await receiver.until("/takes", 2)
    events = [json.loads(body)["type"] for _, body in receiver.to("/takes")]
    assert events == ["job.failed", "job.cancelled"]
    assert len({headers["webhook-id"] for headers, _ in receiver.to("/takes")}) == 2


async def test_a_paused_queue_keeps_deliveries(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    book.run(queues.pause(QueueName.WEBHOOKS, paused=True))
    job_id = finished(book, f"{receiver.url}/takes")
    async with delivering():
        state = book.run(queues.look(QueueName.WEBHOOKS))
        assert (state.waiting, state.paused) == (1, True)
        book.run(queues.pause(QueueName.WEBHOOKS, paused=False))
        await shown(book, job_id, "delivered")


async def test_an_unsigned_webhook_is_not_sent(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    job_id = finished(book, f"{receiver.url}/takes")
    async with delivering(webhook_secret=None):
        assert "TANDEM_WEBHOOK_SECRET" in (await shown(book, job_id, "failed"))["error"]
    assert receiver.got == []


def test_tries_go_on_for_a_day() -> None:
    now = datetime.now(UTC)

    def delivery(age: timedelta, attempt: int) -> Delivery:
        return Delivery("01-1", "01", "job.failed", "https://example.com", now - age, attempt, "", "1")

    first = request.judge(delivery(timedelta(0), 1), 500, None)
    late = request.judge(delivery(timedelta(hours=23), 40), 503, "120")
    assert first.outcome is late.outcome is Outcome.PENDING
    assert timedelta(seconds=1) <= first.delay <= timedelta(seconds=2)
    assert timedelta(minutes=30) <= late.delay <= timedelta(hours=1)
    assert request.judge(delivery(timedelta(seconds=1), 1), 429, "120").delay == timedelta(seconds=120)
    assert request.judge(delivery(timedelta(hours=25), 41), 500, None).outcome is Outcome.FAILED


async def test_a_try_that_broke_is_told_on_one_line_without_its_url() -> None:
    """A query may hold a secret, and the error stands in the log and on the job."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"nonsense\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=hidden"
    delivery = Delivery("e", "j", "job.failed", url, datetime.now(UTC), 1, "", "t")
    async with server, request.session(allow_private=True) as session:
        verdict = await request.post(session, delivery, "{}", secret="whsec_" + "A" * 32, allow_private=True)
    assert verdict.outcome is Outcome.PENDING
    assert "Bad status line" in verdict.error
    assert "hidden" not in verdict.error
    assert "\n" not in verdict.error


@pytest.mark.parametrize("wait", ["86400", "1" + "0" * 20, "9" * 5000, "٣" * 30])
def test_no_receiver_puts_a_try_off_beyond_all_bounds(wait: str) -> None:
    delivery = Delivery("01-1", "01", "job.failed", "https://example.com", datetime.now(UTC), 1, "", "1")
    verdict = request.judge(delivery, 503, wait)
    assert (verdict.outcome, verdict.delay) == (Outcome.PENDING, request.BACKOFF.cap)


@pytest.mark.parametrize("wait", ["0", "000", "-5", "", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_a_wait_that_is_none_is_not_heeded(wait: str) -> None:
    delivery = Delivery("01-1", "01", "job.failed", "https://example.com", datetime.now(UTC), 1, "", "1")
    assert request.judge(delivery, 503, wait).delay <= timedelta(seconds=2)


async def test_a_receiver_that_asks_for_for_ever_is_tried_again(
    book: Book, receiver: Receiver, delivering: Deliver
) -> None:
    job_id = finished(book, f"{receiver.url}/later")
    async with delivering():
        pending = await shown(book, job_id, "pending")
    assert pending["response_status"] == 503
    due = datetime.fromisoformat(pending["next_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < due <= timedelta(hours=1)
