"""A receiver that hangs costs its owner, and of the owner's hosts that one alone."""

import asyncio

import pytest

from tandem.shared.store import queues
from tandem.shared.store.executor import Book
from tandem.shared.store.queues import QueueName
from tandem.shared.webhooks.deliverer import AT_ONCE
from tests.support.jobs import get
from tests.support.servers.webhooks import Deliver, Receiver, ended, receiving, shown


def tries(receiver: Receiver) -> int:
    return len(receiver.to("/hangs"))


@pytest.mark.slow
async def test_a_hanging_receiver_costs_its_owner_only(book: Book, receiver: Receiver, delivering: Deliver) -> None:
    hanging = ended(book, [("ann", f"{receiver.url}/hangs")] * 1500)
    async with delivering():
        await receiver.until("/hangs", AT_ONCE // 4)
        waiting = book.run(queues.look(QueueName.WEBHOOKS)).waiting
        assert waiting == 1500 - AT_ONCE // 4
        for owner in ("bob", "eve"):  # the second one comes when nobody is alone any more
            [job_id] = ended(book, [(owner, f"{receiver.url}/takes")])
            await shown(book, job_id, "delivered")
        assert tries(receiver) == AT_ONCE // 4, "none of them had to end for it"
        receiver.release.set()
        await shown(book, hanging[0], "delivered")


async def test_a_hanging_host_leaves_the_owners_others_served(
    book: Book, receiver: Receiver, delivering: Deliver
) -> None:
    ended(book, [("ann", f"{receiver.url}/hangs")] * 100)
    async with receiving() as other, delivering():
        await receiver.until("/hangs", AT_ONCE // 4)
        good = ended(book, [("ann", f"{other.url}/takes")] * 100)
        async with asyncio.timeout(20):
            await other.until("/takes", 100)
        await shown(book, good[-1], "delivered")
        assert tries(receiver) == AT_ONCE // 4
        receiver.release.set()


async def test_whose_places_are_taken_is_served_as_they_come_back(
    book: Book, receiver: Receiver, delivering: Deliver
) -> None:
    """A place that is free is used at once, not when somebody looks again."""
    hooks = [("ann", f"{receiver.url}/takes"), ("bob", f"{receiver.url}/takes")] * 200
    jobs = ended(book, hooks)
    async with asyncio.timeout(20):
        async with delivering():
            await receiver.until("/takes", len(jobs))
            for job_id in jobs[-2:]:
                await shown(book, job_id, "delivered")
    assert {delivery["attempt"] for job_id in jobs for delivery in get(book, job_id).deliveries} == {1}
